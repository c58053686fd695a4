"""The results store: one directory a run, records as they come, `result.json` last.

`OUTPUT/<checkpoint>/<task>@<protocol>/<run id>/` holds `records.jsonl`, one line a sample,
`vocabulary.json`, the texts of the tokens in them, and `result.json`, which exists only when the
run is complete. The run id is a digest of everything that can change the numbers, so the same
command finds its own unfinished run and goes on, and a changed one never mixes with it.

Format history:
  1  first
"""

from gpt2eval.results.document import (
    DIGESTS,
    digests_of,
    finite,
    read_content,
    read_result,
    write_result,
)
from gpt2eval.results.encoding import (
    common_beginning,
    decode_requests,
    decode_response,
    encode_requests,
    encode_response,
    own_responses,
)
from gpt2eval.results.files import write_atomically
from gpt2eval.results.finding import Found, find_results, load_results, without_result
from gpt2eval.results.layout import (
    FORMAT,
    RECORDS,
    RESULT,
    SHARDS,
    VOCABULARY,
    prepare_output,
    run_directory,
)
from gpt2eval.results.locks import locked
from gpt2eval.results.records import (
    RecordWriter,
    locate_records,
    read_records,
    records_at,
    records_size,
    recover_records,
    replace_lines,
    replace_records,
    trusting,
)
from gpt2eval.results.vocabulary import read_vocabulary, write_vocabulary

__all__ = [
    "DIGESTS",
    "FORMAT",
    "RECORDS",
    "RESULT",
    "SHARDS",
    "VOCABULARY",
    "Found",
    "RecordWriter",
    "common_beginning",
    "decode_requests",
    "decode_response",
    "digests_of",
    "encode_requests",
    "encode_response",
    "find_results",
    "finite",
    "load_results",
    "locate_records",
    "locked",
    "own_responses",
    "prepare_output",
    "read_content",
    "read_records",
    "read_result",
    "read_vocabulary",
    "records_at",
    "records_size",
    "recover_records",
    "replace_lines",
    "replace_records",
    "run_directory",
    "trusting",
    "without_result",
    "write_atomically",
    "write_result",
    "write_vocabulary",
]
