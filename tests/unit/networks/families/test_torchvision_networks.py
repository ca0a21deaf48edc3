from __future__ import annotations

from triptych.networks.backbones import build_network
from triptych.networks.cuts.nodes import Cut, Tap
from triptych.networks.families.torchvision_networks import TorchvisionNetwork


def test_the_last_layer_of_each_kind_is_found() -> None:
    for name, layer, inputs in (("resnet18", "fc", 512), ("squeezenet1_1", "classifier.1", 512)):
        architecture, network = TorchvisionNetwork(name, {}), build_network(name, empty=True)
        assert architecture.find_last_layer(network) == (layer, 1000)
        assert architecture.find_tap(network, Cut("features", "max")).pooling == "max"
        assert architecture.cut_last(network, layer)[0] == inputs


def test_what_enters_the_last_layer_is_tapped() -> None:
    network = build_network("resnet18", empty=True)
    assert TorchvisionNetwork("resnet18", {}).tap_last(network) == Tap("fc", "", entering=True)


def test_images_have_the_size_that_a_network_is_built_for() -> None:
    """The first weights of the largest vision transformer are for images of 518 pixels."""
    assert TorchvisionNetwork("vit_h_14", {}).preprocess().crop_size == 224
    assert TorchvisionNetwork("inception_v3", {}).preprocess().crop_size == 299
