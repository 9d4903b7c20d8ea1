"""Tiny copies of the data sets in their real layouts, every image of a colour of its own."""

import json

import numpy as np
from PIL import Image
from scipy.io import savemat
from torch import nn
from torchvision import transforms

from benchmarks.backbones import Backbone


class MeanColour(nn.Module):
    """Features by which a test can tell which picture they are of."""

    def forward(self, images):
        return images.mean(dim=(2, 3))


MEAN_COLOUR = Backbone(
    name="mean colour",
    transform=transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()]),
    build=MeanColour,
)


def write_image(path, seed=None):
    """A picture whose colour follows from its path, so that no two are alike."""
    seed = seed or path.as_posix().encode()
    colour = np.random.default_rng(list(seed)).integers(0, 256, 3).tolist()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 10), tuple(colour)).save(path)


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


CUB_CLASSES = {
    1: "001.Black_footed_Albatross",
    2: "002.Laysan_Albatross",
    20: "020.Yellow_breasted_Chat",
    45: "045.Northern_Fulmar",
    100: "100.Brown_Pelican",
    101: "101.White_Pelican",
    200: "200.Common_Yellowthroat",
}


def build_cub(root):
    images, classes = [], []
    for number, name in CUB_CLASSES.items():
        for i in range(3):
            path = f"{name}/{name.split('.')[1]}_{i:04}_1.jpg"
            write_image(root / "CUB_200_2011" / "images" / path)
            images.append(f"{len(images) + 1} {path}")
            classes.append(f"{len(images)} {number}")
    write_lines(root / "CUB_200_2011/images.txt", images)
    write_lines(root / "CUB_200_2011/image_class_labels.txt", classes)


CARS_CLASSES = {
    1: "AM General Hummer SUV 2000",
    2: "Acura Integra Type R 2001",
    16: "Audi RS 4 Convertible 2008",
    97: "Ford F-150 Regular Cab 2012",
    98: "Ram C/V Cargo Van Minivan 2012",
    99: "Aston Martin V8 Vantage Coupe 2012",
    196: "Land Rover LR2 SUV 2012",
}


def cars_names():
    return [CARS_CLASSES.get(i, f"Make Model {i} Sedan 2012") for i in range(1, 197)]


def build_cars196(root):
    write_lines(root / "names.csv", cars_names())
    for part in ("train", "test"):  # both hold every class
        lines = []
        for number, name in CARS_CLASSES.items():
            for i in range(2):
                file = f"{len(lines) + 1:05}.jpg"
                folder = root / "car_data/car_data" / part / name.replace("/", "-")
                write_image(folder / file)
                lines.append(f"{file},{i},1,10,9,{number}")
        write_lines(root / f"anno_{part}.csv", lines)


def build_cars196_as_published(root):
    rows = []
    for number in CARS_CLASSES:
        for i in range(4):
            path = f"car_ims/{len(rows) + 1:06}.jpg"
            write_image(root / path)
            rows.append((path, 1, 1, 10, 9, number, i % 2))
    kinds = [("relative_im_path", object)]
    kinds += [(n, object) for n in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test")]
    content = {
        "annotations": np.array([rows], dtype=kinds).reshape(1, -1),
        "class_names": np.array(cars_names(), dtype=object).reshape(1, -1),
    }
    savemat(root / "cars_annos.mat", content)


def build_sop(root):
    folder = root / "Stanford_Online_Products"
    header, number = "image_id class_id super_class_id path", 0
    for part, products in (("train", range(1, 6)), ("test", range(11319, 11322))):
        lines = [header]
        for product in products:
            kind, name = [(1, "bicycle"), (4, "chair")][product % 2]
            for i in range(2):
                number += 1
                path = f"{name}_final/{111085122871 + product}_{i}.JPG"
                write_image(folder / path)
                lines.append(f"{number} {product} {kind} {path}")
        write_lines(folder / f"Ebay_{part}.txt", lines)


INSHOP_ITEMS = [
    ("WOMEN/Dresses", 2, ("train", "train")),
    ("WOMEN/Dresses", 3, ("train", "train")),
    ("WOMEN/Blouses_Shirts", 5, ("train", "train", "train")),
    ("MEN/Denim", 80, ("train", "train")),
    ("MEN/Pants", 81, ("query", "gallery", "gallery")),
    ("WOMEN/Dresses", 90, ("gallery", "query")),
]


def build_inshop(root):
    lines = []
    for category, item, parts in INSHOP_ITEMS:
        for i, part in enumerate(parts):
            path = f"img/{category}/id_{item:08}/{i + 1:02}_1_front.jpg"
            write_image(root / path)
            lines.append(f"{path}    id_{item:08} {part}")
    header = [str(len(lines)), "image_name item_id evaluation_status"]
    write_lines(root / "list_eval_partition.txt", [*header, *lines])


RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "name")
INAT_SPECIES = [
    ("Animalia", "Chordata", "Aves", "Passeriformes", "Turdidae", "Turdus", "Turdus merula"),
    ("Animalia", "Chordata", "Aves", "Passeriformes", "Turdidae", "Turdus", "Turdus pilaris"),
    (
        "Animalia",
        "Chordata",
        "Aves",
        "Passeriformes",
        "Muscicapidae",
        "Oenanthe",
        "Oenanthe deserti",
    ),
    ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "Lynx rufus"),
    (
        "Plantae",
        "Tracheophyta",
        "Magnoliopsida",
        "Apiales",
        "Apiaceae",
        "Oenanthe",
        "Oenanthe crocata",
    ),
    ("Plantae", "Tracheophyta", "Liliopsida", "Poales", "Poaceae", "Poa", "Poa annua"),
]
INAT_TEST = (3, 5)


def build_inaturalist(root):
    parts = {"train2018": ([], []), "val2018": ([], [])}
    splits = {"train": [], "test": []}
    for species in range(len(INAT_SPECIES)):
        for i in range(3):
            path = f"train_val2018/{INAT_SPECIES[species][2]}/{species}/{species}_{i}.jpg"
            write_image(root / path)
            images, annotations = parts["val2018" if i == 2 else "train2018"]
            number = 100 * species + i
            images.append({"id": number, "file_name": path})
            annotations.append({"image_id": number, "category_id": species})
            splits["test" if species in INAT_TEST else "train"].append(path)
    for name, (images, annotations) in parts.items():
        content = {"images": images, "annotations": annotations}
        (root / f"{name}.json").write_text(json.dumps(content))
    categories = [
        {"id": i, **dict(zip(RANKS, names, strict=True))} for i, names in enumerate(INAT_SPECIES)
    ]
    (root / "categories.json").write_text(json.dumps(categories))
    for part, lines in splits.items():
        write_lines(root / f"Inat_dataset_splits/Inaturalist_{part}_set1.txt", lines)


def build_folder(root):
    for kind, group, name in (
        ("food", "fruit", "apple"),
        ("food", "fruit", "pear"),
        ("food", "fruit", "other"),
        ("food", "dairy", "milk"),
        ("food", "dairy", "other"),
        ("tools", "hand", "hammer"),
        ("tools", "hand", "saw"),
        ("tools", "power", "drill"),
    ):
        for i in range(3):
            write_image(root / kind / group / name / f"{i}.{('jpg', 'PNG', 'webp')[i]}")
    (root / ".cache").mkdir()


BUILDERS = {
    "cub": build_cub,
    "cars196": build_cars196,
    "sop": build_sop,
    "inshop": build_inshop,
    "inaturalist": build_inaturalist,
    "folder": build_folder,
}
