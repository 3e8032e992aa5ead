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

BOXES = {  # left, top, width, height in pixels of the photograph
    "astronaut": (10, 150, 384, 320),
    "coffee": (244, 64, 352, 320),
    "chelsea": (18, 6, 416, 288),
    "rocket": (208, 80, 384, 320),
    "hubble": (512, 240, 480, 320),
    "immunohistochemistry": (100, 150, 384, 320),
    "retina": (150, 520, 352, 320),
    "raccoon": (560, 250, 352, 320),
    "china": (24, 100, 384, 320),
    "flower": (114, 70, 384, 320),
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
    for name, (left, top, width, height) in BOXES.items():
        cut = pictures[name][top : top + height, left : left + width]
        assert cut.shape == (height, width, 3), f"the box of {name} leaves the photograph"
        path = out / f"{name}.png"
        Image.fromarray(cut).save(path, optimize=True)
        print(name, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
