#!/bin/bash
# The table of a model's card: Dice and lesion F1 on volumes that it was not trained on, at several thresholds.
#
#     docs/weights/evaluate.sh MODEL OUT SET=IMAGES:REFERENCES …
#
# MODEL is a folder that package.py made with its default threshold, or the name of a model in the box. Each SET is a
# folder of FLAIR volumes and one of their references, files of the same name. OUT/SET/THRESHOLD has the masks, and in
# evaluation/metrics_summary.json what the card says.
set -euo pipefail

model=$1 out=$2
shift 2
checkpoint=()
[ -d "$model" ] && checkpoint=(-chk weights.safetensors)
for set in "$@"; do
    name=${set%%=*} folders=${set#*=}
    for threshold in 0.5 0.1; do
        masks=$out/$name/$threshold
        nnUNetv2_sa_unet segment "${folders%%:*}" -o "$masks" -m "$model" "${checkpoint[@]}" --threshold "$threshold" \
            --no-report
        nnUNetv2_sa_unet evaluate "${folders#*:}" "$masks"
    done
done
