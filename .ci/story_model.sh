#!/bin/sh
# From nothing to a story model and what is known about it: sh .ci/story_model.sh [STEP]
#   corpus    writes the training text        (CPU: minutes on many cores)
#   tokens    learns a tokenizer, encodes     (CPU)
#   sweep     tries small sizes               (GPU: minutes on an H100)
#   train     trains the final model          (GPU: goes on where it stopped)
#   evaluate  judges it beside $REFERENCE, writes docs/story-model and models/story
# Without a step: all of them. Each step that was interrupted goes on when it is called again.
# Needs a Python with torch, tokenizers, safetensors, numpy, jinja2, tqdm and matplotlib; no Django.
# evaluate runs the engine, and needs requirements.txt and matplotlib.
#   PYTHON=python3         WORK=var/story       LANGUAGES="en zh", or en
#   TOKENS=130000000       of the grammar's text
#   TEACHER= CHAT=         folders of models whose stories are mixed in: tinystories-656k and chat
#                          were (of 7,200 and 800 that were begun, those that passed the filters)
#   CUT=0.1                the share of words that are encoded in two parts (docs/training.md)
#   MINUTES=9              of one call of sweep or train, which then stops with a checkpoint
#   STEPS=4500  SWEEP_STEPS=700   of 131,072 tokens each; 4,500 take three minutes of an H200
#   REFERENCE, JUDGE       models to compare with, "NAME=FOLDER …", and one to read the stories
#   WITHOUT                runs that did not see a source: "SOURCE=RUN …"
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3} WORK=${WORK:-var/story} LANGUAGES=${LANGUAGES:-en zh}
TOKENS=${TOKENS:-130000000} MINUTES=${MINUTES:-9} STEPS=${STEPS:-4500} CUT=${CUT:-0.1}
SWEEP_STEPS=${SWEEP_STEPS:-700}
case "$LANGUAGES" in
en) recipe=story; texts="$WORK/corpus/*-en-*.jsonl.gz"; chinese=0 ;;
*) recipe=story-bilingual; texts="$WORK/corpus"; chinese=0.25 ;;
esac
here=$WORK/$recipe
cores=$("$PYTHON" -c 'import os; print(os.cpu_count())') # nproc says what OpenMP may have
gpus=$("$PYTHON" -c 'import torch; print(max(1, torch.cuda.device_count()))')
train="$PYTHON -m inference.training"
if [ "$gpus" -gt 1 ]; then
    train="$PYTHON -m torch.distributed.run --standalone --nproc-per-node=$gpus -m inference.training"
fi

corpus() {
    write="$PYTHON -m inference.corpus --out $WORK/corpus --chinese $chinese"
    $write --tokens "$TOKENS" --processes "$cores"
    if [ -n "${TEACHER:-}" ]; then $write --sources teacher --teacher "$TEACHER" --stories 7200; fi
    if [ -n "${CHAT:-}" ]; then $write --sources chat --chat "$CHAT" --stories 800; fi
}

tokens() {
    if [ -f "$here/tokens/index.json" ]; then return; fi
    vocab=$("$PYTHON" -c "import tomllib
print(tomllib.load(open('inference/training/recipes/$recipe.toml', 'rb'))['vocab'])")
    # a pattern, to be spelled out by the shell
    # shellcheck disable=SC2086
    "$PYTHON" -m inference.training tokenizer $texts --vocab "$vocab" --output "$here/tokenizer"
    # shellcheck disable=SC2086
    "$PYTHON" -m inference.training shards $texts --tokenizer "$here/tokenizer" \
        --output "$here/tokens" --cache "$WORK/cache" --cut "$CUT"
}

sweep() {
    $train sweep "$here/tokens" --recipe "$recipe" --sizes 1m 3m 8m --set "steps=$SWEEP_STEPS" \
        --max-minutes "$MINUTES" --output "$here/sweep"
}

train() {
    $train run "$here/tokens" --recipe "$recipe" --set "steps=$STEPS" --max-minutes "$MINUTES" \
        --output "$here/run"
}

evaluate() {
    mkdir -p docs/story-model
    # shellcheck disable=SC2086
    "$PYTHON" -m inference.evaluation "story=$here/run/model" --corpus "$WORK/corpus" \
        ${REFERENCE:+--reference $REFERENCE --blind docs/story-model/blind} \
        ${JUDGE:+--judge "$JUDGE"} ${WITHOUT:+--without $WITHOUT} \
        --languages $LANGUAGES --sizes "$here/sweep/1m" "$here/sweep/3m" "$here/sweep/8m" \
        --output docs/story-model --card "$here/run/model/README.md"
    rm -rf models/story
    mkdir -p models
    cp -r "$here/run/model" models/story
}

for step in ${1:-corpus tokens sweep train evaluate}; do
    echo "== $step"
    "$step"
done
