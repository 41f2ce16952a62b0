"""The names of the sets that olhar knows, apart from the code that reads them: no torch is needed to mistype one."""

EMBEDDED = ("digits", "shapes")
TORCHVISION = (
    *("cifar10", "cifar100", "mnist", "fashion-mnist", "kmnist", "usps", "svhn", "stl10", "oxford-pets", "flowers102"),
    *("food101", "gtsrb", "dtd", "fgvc-aircraft", "eurosat", "sun397", "country211", "imagenette"),
)
