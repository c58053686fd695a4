"use strict";
(() => {
  const ROWS = 50; // rows of a list at once
  const TOKENS = 1200; // tokens on the page at once
  const LONG = 2000; // characters of a text before it is folded
  const MORE = 20000; // characters that unfolding adds
  const FLAG = { failed: 1, truncated: 2, length: 4, empty: 8 };

  // ---- building: text only ever becomes a text node -------------------------------------------

  /** An element with properties and children; strings become text. */
  function h(name, properties = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (value === undefined || value === null || value === false) continue;
      if (key in element && !key.includes("-")) element[key] = value;
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.flat(9).filter((child) => child !== null && child !== undefined));
    return element;
  }

  // Control characters, overrides of direction, spaces of no width, separators of lines, and what
  // is no character. Joiners stay: scripts and emoji are written with them.
  const HIDDEN = new RegExp(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f" +
      "\\ufeff\\ufff9-\\ufffb\\ufdd0-\\ufdef\\ufffe\\uffff\\u{e0000}-\\u{e0fff}\\p{Surrogate}]",
    "gu",
  );

  /** The same text with what nobody sees as its code point. */
  const visible = (text) => text.replace(/\r\n/g, "\n").replace(HIDDEN, codePoint);
  const codePoint = (char) => `⟨U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;

  /** Text as nodes, hidden characters marked off. */
  function nodes(text) {
    const found = [];
    let from = 0;
    const clean = text.replace(/\r\n/g, "\n");
    for (const match of clean.matchAll(HIDDEN)) {
      if (match.index > from) found.push(clean.slice(from, match.index));
      found.push(h("span", { className: "odd" }, codePoint(match[0])));
      from = match.index + match[0].length;
    }
    found.push(clean.slice(from));
    return found;
  }

  /** A place to cut a text at that does not tear a character in two. */
  const seam = (
    text,
    at,
  ) => (/^[\ud800-\udbff][\udc00-\udfff]$/.test(text.slice(Math.max(0, at - 1), at + 1)) ? at - 1 : at);

  /** A block of text; a long one is folded, with the end or the beginning in sight. */
  function textBlock(text, { className = "", end = false } = {}) {
    const block = h("div", { className: `text ${className}`, dir: "auto" });
    if (text.length <= LONG) {
      block.append(...nodes(text));
      return block;
    }
    let shown = LONG;
    const more = h("button", { type: "button", className: "more" });
    const show = () => {
      const at = seam(text, end ? Math.max(0, text.length - shown) : Math.min(text.length, shown));
      const part = end ? text.slice(at) : text.slice(0, at);
      block.replaceChildren(...nodes(part));
      const left = count(Math.max(0, text.length - shown));
      more.textContent = `${end ? "earlier" : "more"}: ${left} of ${count(text.length)} characters`;
      more.hidden = shown >= text.length;
    };
    more.addEventListener("click", () => {
      shown += MORE;
      show();
    });
    show();
    return end ? h("div", {}, more, block) : h("div", {}, block, more);
  }

  const count = (number) => number.toLocaleString("en-US");
  const known = (number) => number !== null && number !== undefined;
  const minus = (text) => text.replace("-", "−");

  function number(value, digits = 3) {
    if (!known(value)) return "–";
    const size = Math.abs(value);
    if (size >= 1e6) return minus(value.toExponential(1));
    return minus(size >= 1000 ? count(Math.round(value)) : value.toFixed(size >= 100 ? 1 : digits));
  }

  // ---- the page: theme, contents, tables ------------------------------------------------------

  function themes() {
    const button = document.getElementById("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const key = "gpt2eval-theme";
    const kept = () => {
      try {
        return localStorage.getItem(key);
      } catch {
        return null; // a file from a disk may have no storage
      }
    };
    const root = document.documentElement;
    const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const show = () => {
      button.textContent = dark() ? "Light" : "Dark";
      button.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`);
    };

    if (["light", "dark"].includes(kept())) root.dataset.theme = kept();
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try {
        localStorage.setItem(key, root.dataset.theme);
      } catch {
        // then it is forgotten with the page
      }
      show();
    });
    system.addEventListener("change", show);
    button.hidden = false;
    show();
  }

  /** Watches tables: one that is wider than its place can be scrolled by keyboard. */
  const scrolling = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });

  /** Headers of a table become buttons that sort its rows. */
  function sortable(table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const key = (row) => row.cells[column]?.dataset.sort;
      if (!rows.some((row) => key(row) !== undefined)) return;
      const numeric = head.classList.contains("num");
      const button = h("button", { type: "button", className: "sort" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        // Names begin with A, numbers with the largest; the third time the order is as it was.
        const order = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
        const next = order[now ? order.indexOf(now) + 1 : 0];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (next) head.setAttribute("aria-sort", next);
        body.append(...(next ? sorted(rows, key, numeric, next === "descending") : rows));
      });
    });
  }

  /** Rows in the order of their keys, those without one last; equal ones stay as they were. */
  function sorted(rows, key, numeric, descending) {
    const value = (text) => (numeric ? Number(text.replace("inf", "Infinity")) : text.toLowerCase());
    const place = (row) => (key(row) === undefined ? undefined : value(key(row)));
    return rows.map((row) => [place(row), row]).sort(([one], [other]) => {
      if (one === undefined || other === undefined) return (one === undefined) - (other === undefined);
      const order = numeric ? one - other || 0 : one.localeCompare(other, "en", { numeric: true });
      return descending ? -order : order;
    }).map(([, row]) => row);
  }

  function summaryTable() {
    const table = document.querySelector("table.summary");
    const label = document.querySelector(".all-metrics");
    if (!table.querySelector(".minor")) return;
    label.hidden = false;
    label.querySelector("input").addEventListener(
      "change",
      (event) => table.classList.toggle("all", event.target.checked),
    );
  }

  // ---- samples: blocks that are unpacked when somebody looks ------------------------------------

  async function unpack(id) {
    const letters = atob(document.getElementById(id).textContent);
    const bytes = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  /** Reads item `index` of blocks that begin at `starts`; holds the last few, or all of them. */
  function reader(prefix, starts, held) {
    const cache = new Map();
    return async (index) => {
      let block = starts.length - 1;
      while (block > 0 && starts[block] > index) block -= 1;
      if (!cache.has(block)) {
        if (cache.size >= held) cache.delete(cache.keys().next().value);
        cache.set(block, unpack(`${prefix}${block}`));
      }
      return (await cache.get(block))[index - starts[block]];
    };
  }

  // ---- tokens: bytes to text, loss to colour ----------------------------------------------------

  // GPT-2's letters for bytes: printable ones are themselves, the others come from 256 on.
  const BYTES = (() => {
    const table = new Map();
    let next = 256;
    for (let byte = 0; byte < 256; byte += 1) {
      const plain = (byte > 32 && byte < 127) || (byte > 160 && byte < 173) || byte > 173;
      table.set(plain ? String.fromCharCode(byte) : String.fromCharCode(next), byte);
      if (!plain) next += 1;
    }
    return table;
  })();
  const encoder = new TextEncoder();
  const decoder = new TextDecoder("utf-8");

  function bytesOf(token) {
    const bytes = [];
    for (const letter of token) {
      if (BYTES.has(letter)) bytes.push(BYTES.get(letter));
      else bytes.push(...encoder.encode(letter));
    }
    return bytes;
  }

  /** How many bytes the last character of these still lacks. */
  function lacking(bytes) {
    for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
      const byte = bytes[bytes.length - back];
      if ((byte & 0xc0) === 0x80) continue;
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
      return Math.max(0, length - back);
    }
    return 0;
  }

  /** Pieces of text {text, from, to}: one token each, or the tokens that share a character. */
  function pieces(tokens, from, to) {
    const found = [];
    let bytes = [], start = from;
    for (let at = from; at < to; at += 1) {
      if (typeof tokens[at] !== "string") {
        if (bytes.length) found.push({ text: decoder.decode(Uint8Array.from(bytes)), from: start, to: at });
        found.push({ text: `⟨${tokens[at]}⟩`, from: at, to: at + 1 });
        bytes = [];
        start = at + 1;
        continue;
      }
      bytes.push(...bytesOf(tokens[at]));
      if (lacking(bytes) && at + 1 < to && at - start < 3) continue;
      found.push({ text: decoder.decode(Uint8Array.from(bytes)), from: start, to: at + 1 });
      bytes = [];
      start = at + 1;
    }
    return found;
  }

  function sum(values, from = 0, to = values.length) {
    let total = 0;
    for (let at = from; at < to; at += 1) total += values[at];
    return total;
  }
  const lossClass = (nats) => `l${nats < 0.25 ? 0 : Math.min(8, Math.ceil(nats / 1.25))}`;
  const gapClass = (nats) => {
    const step = Math.min(4, 1 + Math.floor(Math.abs(nats) / 0.75));
    return Math.abs(nats) < 0.1 ? "" : nats > 0 ? `l${2 * step}` : `m${step}`;
  };

  const named = (label) => h("bdi", {}, visible(label));
  const small = (...parts) => h("p", { className: "facts-line" }, parts.filter(Boolean).join("; "));
  const head = (text, className) => h("th", { scope: "col", className }, text);

  /** A table that scrolls by itself where it is too wide. */
  function tableOf(name, heads, rows, className) {
    const table = h("table", { className }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));
    const place = h("div", { className: "scroll", role: "group", "aria-label": name }, table);
    scrolling.observe(place);
    return place;
  }

  /** What the colours stand for. */
  function legend(difference, one, other) {
    const up = ["l0", "l1", "l2", "l3", "l4", "l5", "l6", "l7", "l8"];
    const apart = ["m4", "m3", "m2", "m1", "l0", "l2", "l4", "l6", "l8"];
    const steps = (difference ? apart : up).map((step) => h("i", { className: step }));
    const ends = difference ? [`${one} surer by 2+ nats`, `${other} surer by 2+ nats`] : ["0", "10+ nats"];
    const ramp = h("span", { className: "steps", "aria-hidden": "true" }, steps);
    return h("span", { className: "ramp" }, named(ends[0]), ramp, named(ends[1]));
  }

  // ---- one sample -------------------------------------------------------------------------------

  /** Everything about a sample, as an element. `pair` holds the places of the two checkpoints. */
  function sampleView(prefix, index, at, text, detail, pair) {
    const labels = index.labels;
    const answers = detail.s;
    // What is left out is as in the first checkpoint that has the sample.
    const first = answers.find((each) => each !== null) || [];
    answers.forEach((each) =>
      each?.forEach((answer, place) => {
        answer.t ??= first[place].t;
        if (answer.l && !answer.e) answer.x ??= first[place].x;
      })
    );
    const shownFirst = answers[pair[0]] ? pair[0] : Math.max(0, answers.findIndex((each) => each !== null));
    const wrapper = h("div", { className: "sample" });
    const readout = h("p", { className: "readout", "aria-live": "polite" });
    const all = answers.flatMap((each) => each || []);
    const isScored = all.some((answer) => answer.e === undefined);
    const isWritten = all.some((answer) => answer.e !== undefined);
    const choices = text.c || [];
    const body = h("div");

    const option = (label, place) =>
      h("option", { value: String(place), disabled: answers[place] === null }, visible(label));
    const select = h("select", {}, labels.map(option));
    const names = pair.map((place) => labels[place]);
    if (pair[1] !== pair[0] && answers[pair[0]] && answers[pair[1]] && isScored) {
      select.append(h("option", { value: "difference" }, visible(`difference: ${names[0]} − ${names[1]}`)));
    }
    select.value = String(shownFirst);
    const box = h("input", { type: "checkbox", checked: true });
    const scale = h("span");
    const tools = h("div", { className: "view" });
    select.id = `${prefix}loss-${at}`;
    if (isScored) tools.append(h("label", { htmlFor: select.id }, "Loss of"), select);
    else if (isWritten) tools.append(h("label", {}, box, "colour tokens by loss"));
    box.checked = false;
    tools.append(scale);

    const draw = () => {
      const difference = isScored && select.value === "difference";
      const place = difference ? pair[0] : Number(select.value);
      scale.replaceChildren(isScored || box.checked ? legend(difference, ...names) : "");
      readout.textContent = isScored || box.checked
        ? "Point at a token, or walk through the text with the arrow keys."
        : "";
      const tokens = (answer, other, name) =>
        tokenText(answer, other, index.tokens, readout, name, difference ? names : null);
      const content = [];
      if (choices.length) content.push(choicesTable(place, difference, tokens));
      else if (isScored) content.push(...scoredTexts(place, difference, tokens));
      if (isWritten) content.push(cards(tokens));
      body.replaceChildren(...content);
    };

    function scoredTexts(place, difference, tokens) {
      const scored = (answers[place] || []).filter((answer) => answer.e === undefined);
      const blocks = scored.map((answer, n) => {
        const other = difference ? answers[pair[1]][n] : null;
        return h(
          "div",
          {},
          h("h3", {}, text.q ? "Continuation" : "Text"),
          tokens(answer, other, "scored text"),
        );
      });
      return [...blocks, lossTable()];
    }

    /** Tokens and loss of every checkpoint, where there are several. */
    function lossTable() {
      const rows = answers.map((each, place) => {
        const scored = (each || []).filter((answer) => answer.e === undefined);
        const tokens = sum(scored.map((answer) => answer.n || answer.l.length));
        const greedy = scored.map((answer) => answer.g).join("");
        const total = -sum(scored.map((answer) => answer.s));
        const first = greedy.length ? (100 * (greedy.split("1").length - 1)) / greedy.length : null;
        const cells = [count(tokens), number(tokens ? total / tokens : null), number(total, 2)];
        cells.push(first === null ? "–" : `${first.toFixed(1)} %`);
        return h(
          "tr",
          {},
          h("th", { scope: "row" }, named(labels[place])),
          cells.map((cell) => h("td", { className: "num" }, cell)),
        );
      });
      const columns = ["tokens", "nats per token", "nats", "first choice"];
      return tableOf("Loss of each checkpoint", [
        head("checkpoint"),
        ...columns.map((name) => head(name, "num")),
      ], rows);
    }

    function choicesTable(place, difference, tokens) {
      const scores = answers.map((each) =>
        each?.length >= choices.length ? choices.map((_, n) => each[n].s) : null
      );
      const best = scores.map((each) => (each ? each.indexOf(Math.max(...each)) : -1));
      const rows = choices.map((choice, n) => {
        const answer = answers[place]?.[n];
        const tail = detail.tails?.[n] || "";
        const gold = n === text.gold;
        const content = [
          h("bdi", {}, nodes(choice)),
          gold ? h("span", { className: "chip right" }, "right answer") : null,
        ];
        if (answer) {
          const other = difference ? answers[pair[1]]?.[n] : null;
          const before = h("span", { className: "context" }, nodes(tail));
          content.push(h("div", { className: "text" }, before, tokens(answer, other, `choice ${n + 1}`)));
        }
        const cells = scores.map((each, k) => {
          const score = h("span", { className: "value" }, each ? number(each[n], 2) : "–");
          if (best[k] !== n) return h("td", { className: "num" }, score);
          return h(
            "td",
            { className: "num chosen" },
            score,
            h("span", { className: `aside ${gold ? "right" : "wrong"}` }, "likeliest"),
          );
        });
        return h("tr", { className: gold ? "gold" : "" }, h("th", { scope: "row" }, content), cells);
      });
      const heads = [head("choice"), ...labels.map((label) => head(named(label), "num"))];
      return h(
        "div",
        {},
        h("h3", {}, "Choices, with their log-probability in nats"),
        tableOf("Choices", heads, rows, "choices"),
      );
    }

    function cards(tokens) {
      const golds = [...new Set(text.r)];
      const reference = labels.length > 2 ? "card reference whole" : "card reference";
      const list = golds.map((gold, n) =>
        h(
          "div",
          { className: reference },
          h("h3", {}, golds.length > 1 ? `Reference ${n + 1}` : "Reference"),
          textBlock(gold),
        )
      );
      answers.forEach((each, place) => {
        const written = text.a[place];
        const card = h("div", { className: "card" }, h("h3", {}, named(labels[place])));
        if (!each) card.append(small("has no record of this sample"));
        (each || []).filter((answer) => answer.e !== undefined).forEach((answer, n) => {
          const [all, scored] = Array.isArray(written[n]) ? written[n] : [written[n], null];
          if (box.checked) card.append(tokens(answer, null, `text of ${labels[place]}`));
          else card.append(all ? textBlock(all) : small("nothing was written"));
          if (scored !== null) {
            card.append(
              h("h3", {}, "The part that is scored"),
              scored ? textBlock(scored) : small("nothing"),
            );
          }
          const end =
            { stop: "a stop string", eos: "the end of text", length: "the length limit" }[answer.e] ||
            answer.e;
          const values = index.metrics.slice(0, 3).map((metric, m) => {
            const its = index.values[m][place][at];
            return known(its) ? `${visible(metric.name)} ${valueText(metric, its)}` : null;
          });
          const cut = answer.u ? `${count(answer.u)} tokens of the prompt were cut off` : null;
          card.append(small(`${count(answer.n || answer.l.length)} tokens, ended by ${end}`, cut, ...values));
        });
        list.push(card);
      });
      return h("div", { className: "cards" }, list);
    }

    const kind = isWritten ? "Prompt" : choices.length ? "Question" : "Context";
    if (text.q) wrapper.append(h("h3", {}, kind), textBlock(text.q, { className: "context", end: true }));
    (detail.error || []).forEach((error, place) => {
      if (error) wrapper.append(h("p", { className: "wrong" }, visible(`${labels[place]}: ${error}`)));
    });
    const cut = all.find((answer) => answer.u && answer.e === undefined);
    if (cut) {
      wrapper.append(small(`${count(cut.u)} tokens at the beginning were cut off: the model is shorter.`));
    }
    wrapper.append(tools, body, readout);
    select.addEventListener("change", draw);
    box.addEventListener("change", draw);
    draw();
    return wrapper;
  }

  /** Tokens as text, coloured by loss, a page of them at a time; arrow keys walk through it. */
  function tokenText(answer, other, vocabulary, readout, name, names) {
    const tokens = answer.t.map((number) => vocabulary[number]);
    const contexts = [];
    (answer.x || []).forEach(([start, length]) => {
      for (let i = 0; i < length; i += 1) contexts.push(start + i);
    });
    const same = other && other.t.length === answer.t.length;
    const block = h("div", {
      className: "text tokens",
      dir: "auto",
      tabIndex: 0,
      role: "group",
      "aria-label": `${visible(name)}, ${count(tokens.length)} tokens: arrow keys walk through them`,
    });
    const pager = h("div", { className: "pager" });
    let shown = [], at = -1, from = 0;

    const say = (piece) => {
      const loss = sum(answer.l, piece.from, piece.to) / 100;
      const chance = loss > 6.9 ? Math.exp(-loss).toExponential(1) : Math.exp(-loss).toFixed(3);
      const parts = [];
      if (same) {
        const others = sum(other.l, piece.from, piece.to) / 100;
        parts.push(visible(`${names[0]} ${number(loss, 2)}`), visible(`${names[1]} ${number(others, 2)}`));
        parts.push(`difference ${number(loss - others, 2)} nats`);
      } else {
        parts.push(`${number(loss, 2)} nats`, `probability ${chance}`);
      }

      if (answer.g) {
        parts.push(
          answer.g.slice(piece.from, piece.to).includes("0") ? "not the first choice" : "the first choice",
        );
      }
      if (contexts.length) parts.push(`${count(contexts[piece.from])} tokens before it`);
      const shared = piece.to - piece.from > 1 ? `(${piece.to - piece.from} tokens) ` : "";
      const quoted = h("b", {}, `“${visible(piece.text).replaceAll("\n", "↵")}”`);
      readout.replaceChildren(quoted, ` ${shared}${parts.join(" · ")}`);
    };
    const mark = (next, speak) => {
      shown[at]?.element.classList.remove("at");
      at = Math.max(0, Math.min(shown.length - 1, next));
      if (!shown[at]) return;
      shown[at].element.classList.add("at");
      if (speak) {
        say(shown[at]);
        shown[at].element.scrollIntoView({ block: "nearest" });
      }
    };
    const show = (start) => {
      from = start;
      at = -1;
      const to = Math.min(tokens.length, from + TOKENS);
      shown = pieces(tokens, from, to);
      for (const piece of shown) {
        const loss = sum(answer.l, piece.from, piece.to) / 100;
        const others = same ? sum(other.l, piece.from, piece.to) / 100 : loss;
        const look = other ? gapClass(loss - others) : lossClass(loss / (piece.to - piece.from));
        piece.element = h("span", { className: look }, nodes(piece.text));
      }
      block.replaceChildren(...shown.map((piece) => piece.element));
      if (tokens.length <= TOKENS) return;
      const held = answer.n ? `, the first ${count(tokens.length)} are in this file` : "";
      const where = `tokens ${count(from + 1)}–${count(to)} of ${count(answer.n || tokens.length)}${held}`;
      const turn = (name, disabled, onclick) =>
        h("button", { type: "button", className: "more", disabled, onclick }, name);
      const earlier = turn("earlier", from === 0, () => show(Math.max(0, from - TOKENS)));
      const later = turn("later", to >= tokens.length, () => show(to));
      pager.replaceChildren(h("span", { className: "found" }, where), earlier, later);
    };
    block.addEventListener("pointerover", (event) => {
      const place = shown.findIndex((piece) => piece.element.contains(event.target));
      if (place >= 0) {
        mark(place, false);
        say(shown[place]);
      }
    });
    block.addEventListener("pointerleave", () => shown[at]?.element.classList.remove("at"));
    block.addEventListener("focus", () => {
      if (block.matches(":focus-visible")) mark(Math.max(at, 0), true);
    });
    block.addEventListener("blur", () => shown[at]?.element.classList.remove("at"));
    block.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + 10, ArrowUp: at - 10 };
      const next = { ...steps, Home: 0, End: shown.length - 1 }[event.key];
      if (next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      mark(next, true);
    });
    show(0);
    return tokens.length > TOKENS ? h("div", {}, block, pager) : block;
  }

  const valueText = (metric, value) =>
    metric.unit === "fraction" ? `${(100 * value).toFixed(value % 1 ? 1 : 0)} %` : number(value, 2);

  // ---- the list of samples ------------------------------------------------------------------------

  async function browser(details) {
    const prefix = `b${details.dataset.number}-`;
    const place = details.querySelector(".browser");
    place.textContent = "Unpacking …";
    const index = await unpack(`${prefix}i`);
    const texts = reader(`${prefix}t`, index.texts, Infinity);
    const detailOf = reader(`${prefix}d`, index.details, 8);
    const total = index.ids.length;
    const state = {
      metric: 0,
      pair: [0, Math.min(1, index.labels.length - 1)],
      filter: "all",
      sort: "order",
    };
    Object.assign(state, { words: "", page: 0, found: [] });
    const two = () => state.pair[0] !== state.pair[1];
    const several = index.labels.length > 1;
    let turn = 0;

    // One row of controls.
    const option = ([value, label]) => h("option", { value }, visible(label));
    const names = index.labels.map((label, n) => [String(n), label]);
    const search = h("input", { type: "search", placeholder: "id, question, text, reference" });
    const selectOne = h("select", {}, names.map(option));
    const selectTwo = h("select", {}, names.map(option));
    const metric = h(
      "select",
      {},
      index.metrics.map(({ name }, n) => option([String(n), name.replaceAll("_", " ")])),
    );
    const filter = h("select");
    const sort = h("select");
    const field = (name, control, className = "") => {
      control.id = `${prefix}${name.toLowerCase()}`;
      return h(
        "div",
        { className: `field ${className}` },
        h("label", { htmlFor: control.id }, name),
        control,
      );
    };
    const tools = h("div", { className: "tools" }, field("Search", search, "find"));
    if (several) tools.append(field("Checkpoint", selectOne), field("Beside", selectTwo));
    if (index.metrics.length > 1) tools.append(field("Metric", metric));
    tools.append(field("Show", filter), field("Order", sort));
    selectTwo.value = String(state.pair[1]);

    const found = h("span", { className: "found", role: "status" });
    const back = h("button", { type: "button" }, "Previous");
    const on = h("button", { type: "button" }, "Next");
    const head = h("tr");
    const body = h("tbody");
    const table = h("table", { className: "list" }, h("caption", {}, "Samples"), h("thead", {}, head), body);
    place.replaceChildren(tools, table, h("div", { className: "pager" }, found, back, on));

    const value = (label, at) => (index.metrics.length ? index.values[state.metric][label][at] : null);
    const loss = (label, at) => index.loss[label][at];
    const gap = (at) => {
      const [one, other] = state.pair;
      if (known(loss(one, at)) && known(loss(other, at))) return loss(one, at) - loss(other, at);
      return known(value(one, at)) && known(value(other, at)) ? value(one, at) - value(other, at) : null;
    };
    const chosen = () => index.metrics[state.metric];
    const hasLoss = index.loss.some((row) => row.some(known));
    const any = (bit) => index.flags.some((row) => row.some((flags) => flags & bit));

    /** The filters and orders that these samples and checkpoints have. */
    function fill() {
      const of = several ? `: ${index.labels[state.pair[0]]}` : "";
      const [one, other] = state.pair;
      const filters = [["all", "all samples"]];
      if (chosen()?.binary) filters.push(["wrong", `wrong${of}`], ["right", `right${of}`]);
      if (chosen()?.binary && two()) {
        filters.push(["flipped", "flipped between the two"]);
        filters.push(["won", `only ${index.labels[one]} right`], [
          "lost",
          `only ${index.labels[other]} right`,
        ]);
      }
      if (any(FLAG.truncated)) filters.push(["truncated", "truncated contexts"]);
      if (any(FLAG.length)) filters.push(["length", "stopped by length"]);
      if (any(FLAG.empty)) filters.push(["empty", "nothing written"]);
      if (any(FLAG.failed)) filters.push(["failed", "failed"]);
      const orders = [["order", "as in the data"]];
      if (two()) orders.push(["gap", hasLoss ? "largest loss difference" : "largest difference"]);
      if (hasLoss) orders.push(["loss-down", `highest loss${of}`], ["loss-up", `lowest loss${of}`]);
      if (chosen() && !chosen().binary) {
        orders.push(["value-down", "highest value"], ["value-up", "lowest value"]);
      }
      filter.replaceChildren(...filters.map(option));
      sort.replaceChildren(...orders.map(option));
      if (!filters.some(([key]) => key === state.filter)) state.filter = "all";
      if (!orders.some(([key]) => key === state.sort)) state.sort = "order";
      filter.value = state.filter;
      sort.value = state.sort;
    }

    function passes(at) {
      const [one, other] = state.pair;
      const flagged = (bit) => index.flags.some((row) => row[at] & bit);
      const right = (label) => value(label, at) === 1, wrong = (label) => value(label, at) === 0;
      switch (state.filter) {
        case "wrong":
          return wrong(one);
        case "right":
          return right(one);
        case "flipped":
          return (right(one) && wrong(other)) || (wrong(one) && right(other));
        case "won":
          return right(one) && wrong(other);
        case "lost":
          return wrong(one) && right(other);
        case "all":
          return true;
        default:
          return flagged(FLAG[state.filter]);
      }
    }

    async function matches(at, words) {
      if (visible(index.ids[at]).toLowerCase().includes(words)) return true;
      const text = await texts(at);
      const parts = [text.q, text.x, ...(text.r || []), ...(text.c || []), ...(text.a || []).flat(2)];
      text.hay ??= parts.filter((part) => typeof part === "string").join("\n").toLowerCase();
      return text.hay.includes(words);
    }

    /** Find the samples again and show the first page of them. */
    async function search_() {
      const mine = (turn += 1);
      const words = state.words.trim().toLowerCase();
      let list = [];
      for (let at = 0; at < total; at += 1) if (passes(at)) list.push(at);
      if (words) {
        found.textContent = "Searching …";
        const kept = [];
        for (const at of list) {
          if (await matches(at, words)) kept.push(at);
          if (mine !== turn) return;
        }
        list = kept;
      }
      const [one] = state.pair;
      const down = (number_) => (known(number_) ? -number_ : null);
      const keys = {
        gap: (at) => (known(gap(at)) ? -Math.abs(gap(at)) : null),
        "loss-down": (at) => down(loss(one, at)),
        "loss-up": (at) => loss(one, at),
        "value-down": (at) => down(value(one, at)),
        "value-up": (at) => value(one, at),
      };
      const key = keys[state.sort];
      if (key) {
        const order = ([a], [b]) => (known(a) && known(b) ? a - b : known(b) - known(a));
        list = list.map((at) => [key(at), at]).sort(order).map(([, at]) => at);
      }
      state.found = list;
      state.page = 0;
      await show();
    }

    function header() {
      const [one, other] = state.pair;
      const cell = (name, className) => h("th", { scope: "col", className }, h("bdi", {}, visible(name)));
      const cells = [h("th", { scope: "col" }, "sample")];
      if (chosen()) cells.push(cell(index.labels[one], "num"));
      const lossHead = (label) =>
        cell(chosen() ? "loss" : `${index.labels[label]}, loss`, chosen() ? "num wide" : "num");
      if (hasLoss) cells.push(lossHead(one));
      if (two()) {
        if (chosen()) cells.push(cell(index.labels[other], "num"));
        if (hasLoss) cells.push(lossHead(other), cell("loss difference", "num wide"));
      }
      head.replaceChildren(...cells);
    }

    function valueCell(label, at) {
      const its = value(label, at);
      if (chosen().binary && known(its)) {
        return h("td", { className: `num ${its ? "right" : "wrong"}` }, its ? "right" : "wrong");
      }
      return h("td", { className: "num" }, known(its) ? valueText(chosen(), its) : "–");
    }

    async function show() {
      const mine = turn;
      const from = state.page * ROWS;
      const part = state.found.slice(from, from + ROWS);
      header();
      const shown = await Promise.all(part.map((at) => texts(at)));
      if (mine !== turn) return;
      const [one, other] = state.pair;
      body.replaceChildren(...part.map((at, n) => {
        const text = shown[n];
        const flags = index.flags.reduce((all, row) => all | row[at], 0);
        const marks = [["failed", "failed"], ["truncated", "truncated"], ["empty", "nothing written"]]
          .filter(([key]) => flags & FLAG[key])
          .map(([, word]) => h("span", { className: "chip" }, word));
        const plain = text.q || text.x || (text.c || []).join(" / ");
        // Of a question the end says most; words torn apart at its beginning go.
        const end = plain.slice(seam(plain, plain.length - 130)).replace(/^\S*\s/, "");
        const snippet = text.q && plain.length > 150 ? `… ${end}` : plain.slice(0, seam(plain, 240));
        const id = visible(index.ids[at].slice(0, seam(index.ids[at], 200)));
        const content = [
          h("bdi", { className: "id" }, id),
          " ",
          visible(snippet).replace(/\s+/g, " "),
          marks,
        ];
        const line = h("span", { className: "snippet", dir: "auto" }, content);
        const button = h("button", { type: "button", className: "open", "aria-expanded": "false" }, line);
        const cells = [h("th", { scope: "row" }, button)];
        const losses = (label) =>
          h("td", { className: chosen() ? "num wide" : "num" }, number(loss(label, at)));
        if (chosen()) cells.push(valueCell(one, at));
        if (hasLoss) cells.push(losses(one));
        if (two()) {
          if (chosen()) cells.push(valueCell(other, at));
          if (hasLoss) cells.push(losses(other), h("td", { className: "num wide" }, number(gap(at))));
        }
        const row = h("tr", {}, cells);
        button.addEventListener("click", () => toggle(row, button, at));
        return row;
      }));
      const to = from + part.length;
      const whole = state.found.length === total
        ? count(total)
        : `${count(state.found.length)} of ${count(total)}`;
      found.textContent = part.length
        ? `${count(from + 1)}–${count(to)} of ${whole} samples`
        : `no sample of ${count(total)} fits`;
      back.disabled = state.page === 0;
      on.disabled = to >= state.found.length;
    }

    async function toggle(row, button, at) {
      if (button.getAttribute("aria-expanded") === "true") {
        button.setAttribute("aria-expanded", "false");
        row.classList.remove("opened");
        if (row.nextSibling?.classList.contains("detail")) row.nextSibling.remove();
        return;
      }
      button.setAttribute("aria-expanded", "true");
      row.classList.add("opened");
      const [text, detail] = await Promise.all([texts(at), detailOf(at)]);
      if (button.getAttribute("aria-expanded") !== "true" || row.nextSibling?.classList.contains("detail")) {
        return;
      }
      const cell = h("td", { colSpan: span() }, sampleView(prefix, index, at, text, detail, state.pair));
      const line = h("tr", { className: "detail" }, cell);
      line.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
          button.focus();
          button.click();
        }
      });
      row.after(line);
    }

    // Columns that a narrow window has no room for must not be spanned either.
    const narrow = matchMedia("(max-width: 40rem)");
    const span = () => [...head.cells].filter((one) => getComputedStyle(one).display !== "none").length;
    narrow.addEventListener("change", () =>
      body.querySelectorAll("tr.detail > td").forEach((one) => {
        one.colSpan = span();
      }));

    const go = async (step) => {
      state.page += step;
      await show();
      table.scrollIntoView({ block: "nearest" });
    };
    back.addEventListener("click", () => go(-1));
    on.addEventListener("click", () => go(1));
    let wait;
    search.addEventListener("input", () => {
      clearTimeout(wait);
      wait = setTimeout(() => {
        state.words = search.value;
        search_();
      }, 150);
    });
    const change = (control, then) =>
      control.addEventListener("change", () => {
        then(control.value);
        fill();
        search_();
      });
    change(selectOne, (chosen_) => {
      state.pair[0] = Number(chosen_);
    });
    change(selectTwo, (chosen_) => {
      state.pair[1] = Number(chosen_);
    });
    change(metric, (chosen_) => {
      state.metric = Number(chosen_);
    });
    change(filter, (chosen_) => {
      state.filter = chosen_;
    });
    change(sort, (chosen_) => {
      state.sort = chosen_;
    });
    fill();
    await search_();
  }

  // ---- begin --------------------------------------------------------------------------------------

  themes();
  document.querySelectorAll(".scroll").forEach((element) => scrolling.observe(element));
  summaryTable();
  document.querySelectorAll("table.sortable").forEach(sortable);
  if (matchMedia("(max-width: 62rem)").matches) document.querySelector(".contents").open = false;
  document.querySelectorAll("details.samples").forEach((details) => {
    details.addEventListener("toggle", () => {
      const place = details.querySelector(".browser");
      browser(details).catch((error) => {
        place.textContent = `The samples could not be unpacked: ${error.message}`;
      });
    }, { once: true });
  });
})();
