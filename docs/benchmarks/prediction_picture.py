"""Draw reference and prediction of some cases: the picture of the README.

python docs/benchmarks/prediction_picture.py IMAGES REFERENCES PREDICTIONS METRICS_CSV OUTPUT.png CASE …
"""

import csv
import sys
from pathlib import Path

from nnunetv2_sa_unet.wmh.pictures import draw_panels, make_panel

images, references, predictions, metrics, output = map(Path, sys.argv[1:6])
with metrics.open(newline="", encoding="utf-8") as stream:
    rows = {row["case"]: row for row in csv.DictReader(stream)}
panels = [
    make_panel(
        f"{case}: Dice {float(rows[case]['dice']):.2f}",
        images / f"{case}_0000.nii.gz",
        {"reference": references / f"{case}.nii.gz", "prediction": predictions / f"{case}.nii.gz"},
    )
    for case in sys.argv[6:]
]
draw_panels(output, panels, "Real FLAIR with slices of 6 to 8 mm, cases held out in cross-validation")
