"""ReferenceSample: what it keeps, what identifies it, and what it refuses."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.images.reference import ReferenceSample


def photos(count: int = 4, channels: int = 3, height: int = 5, width: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, height, width)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


samples = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
)


class TestKeeps:
    def test_bytes_as_bytes_and_scales_them_on_demand(self) -> None:
        images = photos()
        sample = ReferenceSample(images)
        assert sample.images.dtype == torch.uint8
        assert torch.equal(sample.images, images)
        expected = images[1:3].numpy().astype(np.float32) / np.float32(255)
        pixels = sample.pixels(1, 3)
        assert pixels.dtype == torch.float32
        assert np.array_equal(pixels.numpy(), expected)
        assert sample.pixels().shape == (4, 3, 5, 6)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_floats_as_float32(self, dtype: torch.dtype) -> None:
        images = torch.tensor([0.0, 0.25, 0.5, 1.0]).reshape(1, 1, 2, 2).to(dtype)
        sample = ReferenceSample(images)
        assert sample.images.dtype == torch.float32
        assert sample.images.flatten().tolist() == [0.0, 0.25, 0.5, 1.0]
        assert torch.equal(sample.pixels(0, 1), sample.images)

    @pytest.mark.parametrize("dtype", ["uint8", ">f4", "<f8", "float16"])
    def test_arrays_of_any_byte_order(self, dtype: str) -> None:
        sample = ReferenceSample(np.ones((2, 1, 2, 2), dtype=dtype))
        assert sample.images.sum().item() == 8

    def test_rounding_beyond_the_range_is_clamped(self) -> None:
        images = torch.tensor([-5e-6, 0.5, 1.000005, 1.0]).reshape(1, 1, 2, 2)
        assert ReferenceSample(images).images.flatten().tolist() == [0.0, 0.5, 1.0, 1.0]

    @pytest.mark.parametrize("kind", ["tensor", "array"])
    @pytest.mark.parametrize("dtype", ["uint8", "float32"])
    def test_a_copy_so_that_later_changes_outside_do_not_reach_it(
        self, kind: str, dtype: str
    ) -> None:
        array = np.zeros((2, 1, 2, 2), dtype=dtype)
        sample = ReferenceSample(torch.from_numpy(array) if kind == "tensor" else array)
        array[:] = 1
        assert sample.images.sum().item() == 0
        sample.pixels().add_(1)
        assert sample.images.sum().item() == 0

    def test_labels_of_each_kind(self) -> None:
        images = photos(2)
        assert ReferenceSample(images).label_kind == "predicted"
        assert ReferenceSample(images).labels is None
        hard = ReferenceSample(images, np.array([3, 1], dtype=np.uint8))
        assert hard.label_kind == "dataset"
        assert hard.labels is not None
        assert hard.labels.dtype == torch.int64
        assert hard.labels.tolist() == [3, 1]
        soft = ReferenceSample(images, torch.tensor([[0.25, 0.75], [1.0, 0.0]]))
        assert soft.label_kind == "soft"
        assert soft.labels is not None
        assert soft.labels.dtype == torch.float64
        assert soft.labels.tolist() == [[0.25, 0.75], [1.0, 0.0]]

    @pytest.mark.parametrize("labels", [[3, 1], (3, 1), torch.tensor([3, 1], dtype=torch.int32)])
    def test_labels_in_any_container(self, labels: object) -> None:
        kept = ReferenceSample(photos(2), labels).labels  # type: ignore[arg-type]  # the point
        assert kept is not None
        assert kept.tolist() == [3, 1]

    def test_names(self) -> None:
        assert ReferenceSample(photos(2)).names == ("image 0", "image 1")
        assert ReferenceSample(photos(2), names=["cat", "dog"]).names == ("cat", "dog")

    def test_size(self) -> None:
        sample = ReferenceSample(photos(4, 3, 5, 6))
        assert len(sample) == 4
        assert sample.shape == (3, 5, 6)

    def test_repr(self) -> None:
        assert repr(ReferenceSample(photos(4))) == (
            "ReferenceSample(4 images of 3×5×6, uint8, labels predicted by the classifier)"
        )
        assert repr(ReferenceSample(photos(1).float() / 255, [1])) == (
            "ReferenceSample(1 image of 3×5×6, float32, labels of the dataset)"
        )

    def test_it_cannot_be_changed(self) -> None:
        sample = ReferenceSample(photos())
        with pytest.raises(FrozenInstanceError):
            sample.names = ()  # type: ignore[misc]  # the point

    def test_it_travels_to_another_process(self) -> None:
        sample = ReferenceSample(photos(), [0, 1, 2, 3])
        other = pickle.loads(pickle.dumps(sample))
        assert other.digest == sample.digest
        assert other.names == sample.names


class TestDerives:
    def test_a_selection_in_its_order(self) -> None:
        sample = ReferenceSample(photos(), [10, 11, 12, 13])
        taken = sample.take([2, 0])
        assert torch.equal(taken.images, sample.images[[2, 0]])
        assert taken.labels is not None
        assert taken.labels.tolist() == [12, 10]
        assert taken.names == ("image 2", "image 0")
        assert taken.digests == (sample.digests[2], sample.digests[0])

    @pytest.mark.parametrize("indices", [[], [[0]], [0.5], [True, False, True, True]])
    def test_no_selection_by_anything_but_whole_numbers(self, indices: list[int]) -> None:
        with pytest.raises(ReferenceSampleError, match="at least one whole number"):
            ReferenceSample(photos()).take(indices)

    @pytest.mark.parametrize("index", [4, -1])
    def test_no_selection_of_images_that_are_not_there(self, index: int) -> None:
        with pytest.raises(ReferenceSampleError, match=f"image {index} asked for.*4 images; use 0"):
            ReferenceSample(photos()).take([0, index])

    def test_the_same_images_with_other_labels(self) -> None:
        sample = ReferenceSample(photos(2), [0, 1], names=["a", "b"])
        other = sample.with_labels([1, 1])
        assert other.labels is not None
        assert other.labels.tolist() == [1, 1]
        assert other.digests == sample.digests
        assert other.digest != sample.digest
        assert other.names == ("a", "b")
        assert sample.with_labels(None).label_kind == "predicted"
        with pytest.raises(ReferenceSampleError, match="3 labels for 2 images"):
            sample.with_labels([1, 1, 1])


class TestDigest:
    def test_is_the_documented_hash(self) -> None:
        image = np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2)
        one = hashlib.sha256(b"uint8 1x2x2 " + bytes([0, 1, 2, 3])).hexdigest()[:32]
        sample = ReferenceSample(image)
        assert sample.digests == (one,)
        assert sample.digest == hashlib.sha256(f"{one} \n".encode()).hexdigest()[:32]
        label = (7).to_bytes(8, "little").hex()
        labelled = hashlib.sha256(f"{one} {label}\n".encode()).hexdigest()[:32]
        assert ReferenceSample(image, [7]).digest == labelled

    @settings(max_examples=50, deadline=None)
    @given(samples, st.randoms())
    def test_does_not_depend_on_the_order(self, images: np.ndarray, random: object) -> None:
        order = list(range(len(images)))
        random.shuffle(order)  # type: ignore[attr-defined]  # hypothesis' random.Random
        sample = ReferenceSample(images, range(len(images)))
        shuffled = ReferenceSample(images[order], order)
        assert shuffled.digest == sample.digest
        assert shuffled.digests == tuple(sample.digests[i] for i in order)

    @settings(max_examples=50, deadline=None)
    @given(samples, st.data())
    def test_changes_with_any_pixel(self, images: np.ndarray, data: st.DataObject) -> None:
        changed = images.copy()
        where = data.draw(st.integers(0, images.size - 1))
        changed.reshape(-1)[where : where + 1] += np.uint8(data.draw(st.integers(1, 255)))
        before, after = ReferenceSample(images), ReferenceSample(changed)
        assert after.digest != before.digest
        differing = [a != b for a, b in zip(after.digests, before.digests, strict=True)]
        assert differing == [i == where * len(images) // images.size for i in range(len(images))]

    def test_changes_with_a_label_its_owner_the_shape_and_the_type(self) -> None:
        images = photos(2, 1, 4, 6)
        samples = [
            ReferenceSample(images),
            ReferenceSample(images, [0, 1]),
            ReferenceSample(images, [1, 0]),
            ReferenceSample(images, torch.eye(2)),
            ReferenceSample(images.reshape(2, 1, 6, 4)),
            ReferenceSample(images.float() / 255),
            ReferenceSample(images[:1]),
        ]
        assert len({sample.digest for sample in samples}) == len(samples)

    def test_does_not_depend_on_names_or_memory_format(self) -> None:
        images = photos()
        named = ReferenceSample(images, names=list("abcd"))
        assert named.digest == ReferenceSample(images).digest
        strided = images.to(memory_format=torch.channels_last)
        assert ReferenceSample(strided).digest == ReferenceSample(images).digest


class TestRefusesImages:
    def test_none_at_all(self) -> None:
        with pytest.raises(ReferenceSampleError, match="holds no images; give at least one"):
            ReferenceSample(torch.zeros(0, 3, 4, 4))

    def test_no_pixels(self) -> None:
        with pytest.raises(ReferenceSampleError, match="no pixels"):
            ReferenceSample(torch.zeros(2, 3, 0, 4))

    def test_another_shape(self) -> None:
        with pytest.raises(ReferenceSampleError, match=r"shape \(3, 4, 4\).*images\[None\]"):
            ReferenceSample(torch.zeros(3, 4, 4))

    def test_channels_last(self) -> None:
        with pytest.raises(ReferenceSampleError, match=r"looks like \(images, height, width"):
            ReferenceSample(np.zeros((2, 8, 8, 3), dtype=np.uint8))

    def test_a_list(self) -> None:
        with pytest.raises(ReferenceSampleError, match=r"images are a list.*stack them"):
            ReferenceSample([torch.zeros(3, 4, 4)])  # type: ignore[arg-type]  # the point

    @pytest.mark.parametrize("dtype", ["int64", "bool", "complex64"])
    def test_another_type(self, dtype: str) -> None:
        with pytest.raises(ReferenceSampleError, match=f"images are {dtype}; expected uint8"):
            ReferenceSample(np.zeros((1, 1, 2, 2), dtype=dtype))
        with pytest.raises(ReferenceSampleError, match=f"images are {dtype}; expected uint8"):
            ReferenceSample(torch.zeros(1, 1, 2, 2, dtype=getattr(torch, dtype)))

    def test_floats_up_to_255(self) -> None:
        images = torch.zeros(3, 1, 2, 2)
        images[1, 0, 0, 0] = 200.0
        message = r"image 1 has values from 0 to 200, expected \[0, 1\].*divide by 255"
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample(images)

    def test_normalised_floats(self) -> None:
        images = torch.zeros(2, 1, 2, 2)
        images[0, 0, 0, 0] = -2.117904
        message = r"cat.png has values from -2.118 to 0, expected.*looks normalised.*Classifier\("
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample(images, names=["cat.png", "dog.png"])

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_numbers_that_are_not_finite(self, value: float) -> None:
        images = torch.zeros(2, 1, 2, 2)
        images[1, 0, 1, 1] = value
        with pytest.raises(ReferenceSampleError, match=r"image 1 h.*(NaN|inf)"):
            ReferenceSample(images)

    def test_names_that_do_not_fit(self) -> None:
        with pytest.raises(ReferenceSampleError, match="1 name for 2 images"):
            ReferenceSample(photos(2), names=["a"])
        with pytest.raises(ReferenceSampleError, match="sequence of strings"):
            ReferenceSample(photos(2), names="ab")


class TestRefusesLabels:
    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ([0], "1 label for 2 images"),
            ([0, -1], "image 1 has label -1; class indices start at 0"),
            ([0.0, 1.0], r"labels are float64.*whole numbers; convert them"),
            (["cat", "dog"], r"labels are <U3.*whole numbers"),
            ([True, False], r"labels are bool.*whole numbers"),
            (np.zeros((2, 2, 2)), r"labels have shape \(2, 2, 2\)"),
            ([[1], [0]], r"shape \(2, 1\).*pass labels\[:, 0\]"),
            ([[0, 1], [1]], "make no array"),
            ([[0.5, 0.5], [0.5, 0.4]], r"soft label of image 1 sums to 0\.9 .*sum to 1"),
            ([[1.5, -0.5], [0.5, 0.5]], r"soft label of image 0.*least entry of -0\.5"),
            ([[np.nan, 1.0], [0.5, 0.5]], r"soft label of image 0 sums to nan"),
        ],
    )
    def test_that_do_not_fit_the_images(self, labels: object, message: str) -> None:
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample(photos(2), labels)  # type: ignore[arg-type]  # the point

    def test_that_the_classifier_does_not_have(self) -> None:
        sample = ReferenceSample(photos(3), [0, 9, 10], names=["a.png", "b.png", "c.png"])
        sample.check_classes(11)
        message = r"c\.png has label 10, but the model has 10 classes \(0 to 9\)"
        with pytest.raises(ReferenceSampleError, match=message):
            sample.check_classes(10)

    def test_soft_ones_over_other_classes(self) -> None:
        sample = ReferenceSample(photos(2), torch.full((2, 4), 0.25))
        sample.check_classes(4)
        with pytest.raises(ReferenceSampleError, match="4 columns, but the model has 5 classes"):
            sample.check_classes(5)

    def test_nothing_when_there_are_none(self) -> None:
        ReferenceSample(photos(2)).check_classes(2)


def test_what_is_changed_in_place_is_another_sample() -> None:
    """Also after it was used: nothing that was known of it is taken for the new one."""
    sample = ReferenceSample(torch.rand(3, 3, 4, 4), [0, 1, 2])
    digest, digests = sample.digest, sample.digests
    assert sample.digests is digests and sample.digest is digest
    sample.labels[0] = 2
    assert sample.digests == digests and sample.digest != digest
    sample.labels[0] = 0
    assert sample.digest == digest
    sample.images[1] = sample.images[1].flip(-1)
    assert sample.digests[::2] == digests[::2] and sample.digests[1] != digests[1]


def test_grey_images_without_channels_are_told_where_these_go() -> None:
    with pytest.raises(ReferenceSampleError, match=r"grey images with images\[:, None\]$"):
        ReferenceSample(torch.rand(6, 28, 28))
    # Of three, each may be an image or a channel.
    with pytest.raises(
        ReferenceSampleError, match=r"\[:, None\], or .* single image with images\[N"
    ):
        ReferenceSample(torch.rand(3, 28, 28))
