"""The names of panels, data sets and backbones, so that names are checked without importing heavy libraries.

A test compares the backbones with `torchvision.models.list_models`.
"""

import re
from dataclasses import dataclass

# Endings that mark a value of `weights` as a file.
WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors")
# Weights that have a word of their own.
IMAGENET, BUNDLED, RANDOM = OWN_WEIGHTS = ("imagenet", "bundled", "random")
TORCHVISION_WEIGHTS = re.compile(r"(^|\.)[A-Z][A-Z0-9_]*$")
# Prefix of the URI of a registered model.
REGISTERED = "models:/"

BACKBONE_NAMES = (
    "alexnet",
    "convnext_base",
    "convnext_large",
    "convnext_small",
    "convnext_tiny",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "efficientnet_v2_l",
    "efficientnet_v2_m",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mnasnet0_75",
    "mnasnet1_0",
    "mnasnet1_3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "regnet_x_16gf",
    "regnet_x_1_6gf",
    "regnet_x_32gf",
    "regnet_x_3_2gf",
    "regnet_x_400mf",
    "regnet_x_800mf",
    "regnet_x_8gf",
    "regnet_y_128gf",
    "regnet_y_16gf",
    "regnet_y_1_6gf",
    "regnet_y_32gf",
    "regnet_y_3_2gf",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "regnet_y_8gf",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "squeezenet1_0",
    "squeezenet1_1",
    "swin_b",
    "swin_s",
    "swin_t",
    "swin_v2_b",
    "swin_v2_s",
    "swin_v2_t",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
    "vit_l_32",
    "wide_resnet50_2",
    "wide_resnet101_2",
)

# A panel may name the cut of its network, as in vgg16@features.16, and combine several networks, as in
# vgg16@features+mobilenet_v2.
CUT_MARK, COMBINED_MARK, PENULTIMATE = "@", "+", "penultimate"
CUT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


# Networks of other packages than torchvision: a name of timm's, and a Hugging Face folder.
TIMM, HUGGING_FACE = "timm:", "hf:"


def is_backbone(network: str) -> bool:
    """Return whether a name is that of a pretrained network, or has the form of one.

    >>> is_backbone("resnet18"), is_backbone("timm:resnet18"), is_backbone("numpy-mlp")
    (True, True, False)
    """
    return network in BACKBONE_NAMES or network.startswith((TIMM, HUGGING_FACE))


def list_parts(panel: str) -> list[str]:
    """Return the panels whose networks a panel combines; of any other panel, itself.

    >>> list_parts("vgg16@features+mobilenet_v2"), list_parts("numpy-mlp")
    (['vgg16@features', 'mobilenet_v2'], ['numpy-mlp'])
    """
    return panel.split(COMBINED_MARK)


def name_network(panel: str) -> str:
    """Return the network of a panel that combines none, without its cut.

    >>> name_network("vgg16@features.16"), name_network("numpy-mlp")
    ('vgg16', 'numpy-mlp')
    """
    return panel.partition(CUT_MARK)[0]


def spell_safely(panel: str) -> str:
    """Return the name of a panel in the letters that MLflow takes in names, and that file names have.

    >>> spell_safely("vgg16@features.16"), spell_safely("vgg16+resnet18"), spell_safely("numpy-mlp")
    ('vgg16--features-16', 'vgg16-plus-resnet18', 'numpy-mlp')
    >>> spell_safely("timm:resnet18.a1_in1k@layer3")
    'timm-resnet18-a1_in1k--layer3'
    """
    return panel.replace(CUT_MARK, "--").replace(COMBINED_MARK, "-plus-").replace(".", "-").replace(":", "-")


NUMPY_MLP = "numpy-mlp"
TORCH_MLP = "torch-mlp"


@dataclass(frozen=True)
class NamedDataset:
    """A data set that `data.source` may name.

    Attributes:
        function: "module:function" that returns it, called with its name.
        torchvision_class: the class of `torchvision.datasets` that downloads it; empty if it needs no download.
        classes: the class names; empty if the data set brings them.
    """

    function: str
    torchvision_class: str = ""
    classes: tuple[str, ...] = ()


MNIST_LIKE = "triptych.data.named:fetch_mnist_like"
DIGITS = tuple("0123456789")
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle-boot")
HIRAGANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
# EMNIST's own names of its divisions, by the name of the data set.
EMNIST_SPLITS = {f"emnist-{split}": split for split in ("balanced", "bymerge", "byclass", "digits", "letters", "mnist")}
DATASETS = {
    "digits": NamedDataset("triptych.data.named:load_digits_images"),
    "mnist": NamedDataset(MNIST_LIKE, "MNIST", DIGITS),
    "fashion-mnist": NamedDataset(MNIST_LIKE, "FashionMNIST", FASHION),
    "kmnist": NamedDataset(MNIST_LIKE, "KMNIST", HIRAGANA),
    "cifar10": NamedDataset("triptych.data.named:fetch_cifar10", "CIFAR10"),
    "flowers102": NamedDataset("triptych.data.named:fetch_flowers", "Flowers102"),
    "oxford-pets": NamedDataset("triptych.data.named:fetch_pets", "OxfordIIITPet"),
    **{name: NamedDataset("triptych.data.named:fetch_emnist", "EMNIST") for name in EMNIST_SPLITS},
}
DATASET_NAMES = tuple(DATASETS)
# What a path of data may begin with, as in `idx:DIR`: how it is laid out.
LAYOUT_NAMES = ("idx", "folder", "table")
# The files that are read as a table of images.
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
