"""Vision transformers: patches as units, verified at every layer, read from folders of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)
from typer.testing import CliRunner

import attnaudit
from attnaudit.cli.app import app
from attnaudit.data.images import Grid, image_record, patches_of, pixels_of, read_images
from attnaudit.errors import DataError, ModelError
from attnaudit.models.edits import delete
from attnaudit.models.transformer.load import load_transformer_model
from attnaudit.models.transformer.site import Site
from attnaudit.models.transformer.vision import VisionModel

GRID = Grid((32, 32), 8)
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 3,
}
FAMILIES = {
    "vit": (ViTConfig, ViTForImageClassification),
    "deit": (DeiTConfig, DeiTForImageClassification),
    "beit": (BeitConfig, BeitForImageClassification),
    "dinov2": (Dinov2Config, Dinov2ForImageClassification),
    "registers": (Dinov2WithRegistersConfig, Dinov2WithRegistersForImageClassification),
}


def small(family: str, seed: int = 0):
    config, kind = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config(**SIZES))
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def images(count: int, seed: int = 0):
    draw = torch.Generator().manual_seed(seed)
    return [
        image_record(f"image {k}", torch.rand(3, 32, 32, generator=draw), GRID, k % 3)
        for k in range(count)
    ]


def test_patches_put_together_are_the_image():
    pixels = torch.rand(3, 32, 32)
    assert torch.equal(pixels_of(patches_of(pixels, 8)[None], GRID)[0], pixels)
    first = patches_of(pixels, 8)[1].reshape(3, 8, 8)
    assert torch.equal(first, pixels[:, :8, 8:16])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_the_unmodified_model(family):
    if family == "deit":
        with pytest.raises(ModelError, match=r".{20}"):
            VisionModel(small(family), GRID, name=family)
        return
    model = VisionModel(small(family), GRID, name=family)
    for layer in range(3):
        at = model.at(Site(layer))
        found = at.verify(images(4))
        assert found.gap <= 1e-6, (layer, at.cut, found)


def test_weights_are_the_class_tokens_row(tmp_path):
    net = small("vit")
    model = VisionModel(net, GRID)
    batch = model.collate(images(2))
    own = model.attend(model.encode(batch))
    pixels = pixels_of(torch.stack([i.instances for i in images(2)]), GRID)
    net.set_attn_implementation("eager")
    with torch.no_grad():
        said = net(pixels, output_attentions=True)
    assert torch.allclose(own, said.attentions[-1][:, :, 0].mean(1), atol=1e-6)
    assert int(batch.units.sum()) == 32


def test_a_deleted_patch_is_painted_in_the_mean_colour():
    net = small("vit")
    model = VisionModel(net, GRID)
    (image,) = images(1)
    batch = model.collate([image])
    drop = torch.zeros_like(batch.units)
    drop[0, 3] = True  # the third patch, behind the class token
    said = model.forward(delete(batch, drop, model))
    patches = image.instances.clone()
    patches[2] = image.instances.mean(0)
    with torch.no_grad():
        expected = net(pixels_of(patches[None], GRID)).logits.log_softmax(-1)
    assert torch.allclose(said, expected, atol=1e-5)


def test_a_folder_of_images_is_audited_from_the_command_line(tmp_path):
    draw = np.random.default_rng(0)
    for label in ("LABEL_0", "LABEL_1", "LABEL_2"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for k in range(4):
            pixels = draw.integers(0, 255, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{k}.png")
    small("vit").save_pretrained(tmp_path / "model")
    args = ["audit", str(tmp_path / "model"), str(tmp_path / "images"), "--check", "reach"]
    done = CliRunner().invoke(app, [*args, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    found = attnaudit.open_run(tmp_path / "run")
    assert found.instances.height == 12
    assert found.findings[0].check == "reach"
    html = (tmp_path / "run" / "report.html").read_text()
    assert '<svg class="map"' in html


def test_what_cannot_be_read_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        read_images(tmp_path / "empty", GRID)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        read_images(tmp_path / "broken", GRID)
    with pytest.raises(DataError, match="the model reads"):
        image_record("x", torch.rand(3, 16, 16), GRID)
    model = VisionModel(small("vit"), GRID)
    with pytest.raises(DataError, match="has 4 patches"):
        model.collate([image_record("x", torch.rand(3, 16, 16), Grid((16, 16), 8))])


def test_a_saved_model_is_loaded_with_its_grid(tmp_path):
    small("dinov2").save_pretrained(tmp_path)
    model = load_transformer_model(tmp_path)
    assert isinstance(model, VisionModel)
    assert (model.grid.size, model.grid.patch) == ((32, 32), 8)
