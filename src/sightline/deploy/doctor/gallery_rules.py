"""Rules about galleries, and about the model whose vectors are to be kept in them."""

from __future__ import annotations

from collections.abc import Iterator

from sightline.deploy.doctor.galleries import GalleryFacts
from sightline.deploy.doctor.model import Model
from sightline.deploy.doctor.rules import Finding, Place, Rule
from sightline.deploy.doctor.site import Site

GAL001 = Rule(
    "GAL001",
    "error",
    "the gallery's vectors have another length",
    "The store refuses the first vector, which is when the first track ends: minutes into the run.",
    "Use the model the gallery was made with, or begin a new gallery.",
    bad="a gallery of 256 numbers, a model of 512",
    good="a gallery of 512 numbers, a model of 512",
)
GAL002 = Rule(
    "GAL002",
    "error",
    "the gallery is of another model",
    "Vectors of two models do not live in one space, even where their length is the same: two public files of one name "
    "agree on the same image with cosine 0.5 to 0.6. Everybody becomes somebody new, or the wrong one.",
    "Use the model the gallery was made with, or embed its people again.",
)
GAL003 = Rule(
    "GAL003",
    "error",
    "the gallery holds single crops, and tracks give averages",
    "Averaging moves all scores: a threshold of 0.70 that lets 1 % of strangers through between single crops lets 6 % "
    "through between averages. The two are not kept in one gallery.",
    "Begin a gallery of averaged vectors for what tracks give.",
)
GAL004 = Rule(
    "GAL004",
    "warning",
    "the Chroma collection measures squared distance",
    "It is Chroma's default. 1 - distance is then no cosine, thresholds mean something else, and vectors that are not "
    "L2-normalised are ranked by their length.",
    'Make the collection with configuration={"hnsw": {"space": "cosine"}}; get_or_create silently keeps the old one.',
    bad="client.get_or_create_collection('people')",
    good="client.create_collection('people', configuration={'hnsw': {'space': 'cosine'}})",
)
GAL005 = Rule(
    "GAL005",
    "warning",
    "the Chroma collection searches too shallowly",
    "With the default ef_search of 100 it finds 94 % of the true neighbours among 10,000 and 74 % among 100,000. "
    "A person who is there is then not found, and becomes a second one.",
    "ef_search 400 or more; sightline's own default gallery searches exactly.",
    bad="{'hnsw': {'space': 'cosine'}}",
    good="{'hnsw': {'space': 'cosine', 'ef_search': 400, 'max_neighbors': 32}}",
)
GAL006 = Rule(
    "GAL006",
    "warning",
    "nothing keeps a second writer out of the Chroma folder",
    "Three processes that wrote one folder all ended well, the count was right, and up to a fifth of the vectors "
    "could no longer be found.",
    "Open it as `chroma:FOLDER` with sightline, which holds a lock, or run `chroma run` and connect to it.",
)
GAL007 = Rule(
    "GAL007",
    "error",
    "the gallery cannot be read",
    "It is damaged, of another application, or not there.",
    "Restore it from a copy; `sightline gallery export FILE OUT.jsonl --salvage` saves what a damaged one still has.",
)
RULES = (GAL001, GAL002, GAL003, GAL004, GAL005, GAL006, GAL007)

ENOUGH_EF = 400


def gallery_findings(gallery: GalleryFacts, site: Site) -> Iterator[Finding]:
    model = site.embedder()
    if model is not None:
        yield from _against_model(gallery, model)
    if gallery.aggregation == "single" and (site.reid_configs or site.trackers):
        yield GAL003.found(Place(gallery.path), f"single crops in {gallery.name}", "averaged vectors")
    if gallery.kind == "chroma":
        yield from _index(gallery)


def _against_model(gallery: GalleryFacts, model: Model) -> Iterator[Finding]:
    place = Place(gallery.path)
    if gallery.dim is not None and model.dim is not None and gallery.dim != model.dim:
        yield GAL001.found(
            place, f"{gallery.dim} numbers in {gallery.name}", f"{model.dim}, as {model.path.name} gives"
        )
        return
    known = model.card.fingerprint if model.card is not None else ""
    if gallery.fingerprint and known and gallery.fingerprint != known:
        value = f"vectors of model {gallery.fingerprint[:16]} in {gallery.name}"
        yield GAL002.found(place, value, f"{known[:16]}, which is {model.path.name}")


def _index(gallery: GalleryFacts) -> Iterator[Finding]:
    place = Place(gallery.path)
    if gallery.space == "l2":
        yield GAL004.found(place, f"{gallery.name} in space l2", "cosine")
    if gallery.ef_search is None or gallery.ef_search < ENOUGH_EF:
        yield GAL005.found(
            place, f"{gallery.name} with ef_search {gallery.ef_search or 'not set'}", f"{ENOUGH_EF} or more"
        )
    if not gallery.locked:
        yield GAL006.found(place, f"no lock beside {gallery.name}", "one writer, or a server")
