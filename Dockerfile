# syntax=docker/dockerfile:1
# gpt2eval in a container.
#
#   docker build -t gpt2eval .                                    CUDA: run it with --gpus all
#   docker build -t gpt2eval --build-arg TORCH_INDEX=URL .        URL of PyTorch's CPU builds: smaller
#   docker run --rm -v "$PWD:/work" -u "$(id -u):$(id -g)" gpt2eval run --model ./my-checkpoint
#
# torch brings CUDA's libraries itself, so that one small base does for both. Which builds there are
# and where, pytorch.org says.
FROM python:3.12.12-slim-bookworm AS build
ARG TORCH_INDEX=""
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
RUN python -m venv /opt/gpt2eval
ENV PATH=/opt/gpt2eval/bin:$PATH
# The large layers change with the lock alone, not with every line of code.
COPY requirements.lock .
# Of two torch of one version pip takes the one with a local part, 2.13.0+cpu.
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --requirement requirements.lock
COPY . .
RUN pip install --no-deps --no-build-isolation .

FROM python:3.12.12-slim-bookworm
COPY --from=build /opt/gpt2eval /opt/gpt2eval
# The home is writable for any user, since --user of `docker run` has no other.
RUN useradd --uid 1000 --create-home gpt2eval && chmod 0777 /home/gpt2eval
ENV PATH=/opt/gpt2eval/bin:$PATH HOME=/home/gpt2eval PYTHONUNBUFFERED=1
USER 1000
WORKDIR /work
ENTRYPOINT ["gpt2eval"]
CMD ["--help"]
