"""The names of the sets that olhar knows, and of the runs that come along, apart from the code that reads them: no
torch is needed to mistype one."""

from pathlib import Path

EMBEDDED = ("digits", "shapes")
TORCHVISION = (
    *("cifar10", "cifar100", "mnist", "fashion-mnist", "kmnist", "usps", "svhn", "stl10", "oxford-pets", "flowers102"),
    *("food101", "gtsrb", "dtd", "fgvc-aircraft", "eurosat", "sun397", "country211", "imagenette"),
)
RUNS = Path(__file__).parent.parent / "shipped"  # run folders without what only resuming and reports need


def shipped(name: str | Path) -> Path | None:
    """The folder of a trained model that comes along; None where no such one does, or a run of this name is here."""
    along = RUNS / name
    here = (Path(name) / "run.json").exists()
    return along if not here and len(Path(name).parts) == 1 and (along / "run.json").exists() else None
