"""Cut the PNGs of ``photopatch10`` out of the photographs that other packages ship. Not needed to use them.

The photographs lie in the wheels of scikit-image 0.26.0 and scikit-learn 1.9.1, the raccoon in that of SciPy 1.11.4:

    python -m venv cut && cut/bin/pip install scikit-image==0.26.0 scikit-learn==1.9.1
    cut/bin/pip download --no-deps --only-binary :all: --python-version 3.11 scipy==1.11.4
    unzip scipy-1.11.4-*.whl scipy/misc/face.dat
    cut/bin/python recipes/photopatch10.py scipy/misc/face.dat src/saddlepoint/data/photopatch10

Pixels are cut, never scaled. The hashes that it prints stand in ``saddlepoint/data/photopatch10.py``; equal pixels may
give other bytes with another version of Pillow or zlib.
"""

import bz2
import hashlib
import sys
from pathlib import Path

import numpy as np
import skimage.data
import sklearn.datasets
from PIL import Image

BOXES = {  # class: the train and the test region, each as left, top, width, height in pixels of the photograph
    "astronaut": ((0, 160, 320, 192), (0, 352, 352, 160)),
    "coffee": ((240, 56, 320, 184), (280, 240, 320, 160)),
    "chelsea": ((32, 0, 384, 140), (0, 140, 320, 160)),
    "rocket": ((0, 235, 320, 192), (320, 219, 320, 208)),
    "hubble": ((100, 100, 320, 224), (420, 100, 288, 288)),
    "immunohistochemistry": ((192, 160, 320, 192), (160, 352, 352, 160)),
    "retina": ((150, 520, 320, 192), (150, 712, 320, 160)),
    "raccoon": ((600, 220, 320, 192), (560, 412, 320, 160)),
    "china": ((0, 75, 320, 192), (0, 267, 320, 160)),
    "flower": ((112, 75, 200, 320), (312, 75, 160, 352)),
}


def photographs(raccoon):
    """Each photograph by its class, (height, width, 3) of bytes."""
    china, flower = sklearn.datasets.load_sample_images().images
    named = {name: getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket", "retina")}
    named |= {"hubble": skimage.data.hubble_deep_field(), "china": china, "flower": flower}
    named["immunohistochemistry"] = skimage.data.immunohistochemistry()
    named["raccoon"] = np.frombuffer(bz2.decompress(raccoon.read_bytes()), np.uint8).reshape(768, 1024, 3)
    return named


def main(raccoon, out):
    out.mkdir(exist_ok=True)
    pictures = photographs(raccoon)
    for name, boxes in BOXES.items():
        for split, (left, top, width, height) in zip(("train", "test"), boxes, strict=True):
            cut = pictures[name][top : top + height, left : left + width]
            assert cut.shape == (height, width, 3), f"the {split} box of {name} leaves the photograph"
            path = out / f"{name}-{split}.png"
            Image.fromarray(cut).save(path, optimize=True)
            print(f'    "{path.name}": "{hashlib.sha256(path.read_bytes()).hexdigest()}",')


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
