#!/bin/bash
# From the open data set to the folder of a model in the box.
#
#     docs/weights/train.sh openflair_dataset.tar.xz WORK DEVICE [OVERRIDE …]
#
# WORK gets nnU-Net's three folders and the packaged model, WORK/openflair. DEVICE is cuda, mps or cpu. Overrides
# change the training, as in `nnUNetv2_sa_unet plan`. Run it again after a kill: what is done is kept.
set -euo pipefail

archive=$1 work=$2 device=$3
shift 3
here=$(dirname "$0")
export nnUNet_raw=$work/raw nnUNet_preprocessed=$work/preprocessed nnUNet_results=$work/results
data=$nnUNet_preprocessed/Dataset900_OpenFLAIR

# The plans' name follows from the overrides; `plan` prints it too.
plans=nnUNetSAUNetSitesOpenflair$(python - "$@" <<'PYTHON'
import sys
from nnunetv2_sa_unet.commands.plan import plans_name
print(plans_name("nnUNetPlans", sys.argv[1:]).removeprefix("nnUNetSAUNet"))
PYTHON
)
fold=$nnUNet_results/Dataset900_OpenFLAIR/nnUNetTrainerSAUNet__${plans}__3d_fullres/fold_all

mkdir -p "$nnUNet_raw" "$nnUNet_preprocessed" "$nnUNet_results"
[ -d "$nnUNet_raw/Dataset900_OpenFLAIR" ] || tar -xJf "$archive" -C "$nnUNet_raw"

# 3×1×1 mm: between the thick slices of most scanners and those of 1 mm, and small enough for a CPU at prediction.
[ -f "$data/nnUNetPlans.json" ] || nnUNetv2_plan_and_preprocess -d 900 -c 3d_fullres \
    -overwrite_target_spacing 3 1 1 -overwrite_plans_name nnUNetPlans --verify_dataset_integrity
nnUNetv2_sa_unet plan -d 900 -c 3d_fullres --override sites "$here/openflair.json" "$@"

# The data set is small: train on all of it, and measure on other volumes (evaluate.sh).
if [ ! -f "$fold/validation/summary.json" ]; then
    continue=()
    [ -d "$fold" ] && continue=(--c)
    nnUNetv2_train 900 3d_fullres all -tr nnUNetTrainerSAUNet -p "$plans" -device "$device" "${continue[@]}"
fi
python "$here/package.py" "$(dirname "$fold")" -o "$work/openflair"
echo "Packaged: $work/openflair. Choose its threshold with evaluate.sh, then package it with --threshold."
