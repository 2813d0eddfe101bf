"""Whether recommendations are better than what is popular, and than chance: a simulated shop with real photos.

Its assumptions, all of them:
- A product is a photo, its class the folder it lies in. Within a class a few products are popular: place r is chosen
  with weight 1 / (r + 5), places drawn at random.
- A shopper likes 1 to 3 classes, with shares of 1, 1/2, 1/3. Nine of ten steps go to such a class, one goes anywhere.
- A step is a view; of views 30 % become clicks, of these 40 % carts, of these 50 % purchases. Steps are spread over 30
  days; what the shopper touches in the last 6 of them and had not touched before is what should have been recommended.
- Shoppers choose by class and popularity, never by the embedding, so that it is what is tested.
What is popular is counted from all shoppers' first 24 days, as a shop would know it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from loadtest.errors import LoadTestError
from loadtest.quality import Labelled
from triptych import CatalogueItem, Client, Event, popular_products

DAY_S = 86400.0
DAYS, HELD_OUT_DAYS = 30, 6
STEPS = (15, 60)
LOYALTY = 0.9
CLICKS, CARTS, PURCHASES = 0.3, 0.4, 0.5
CUTS = (1, 5, 10, 20, 50)
RESAMPLES = 1000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shopper:
    """One of the simulated.

    Attributes:
        classes: what they like, the most first.
        events: of the days before the cut.
        wanted: products they turned to after it, and had not before.
    """

    classes: tuple[str, ...]
    events: tuple[Event, ...]
    wanted: frozenset[str]


@dataclass(frozen=True)
class Score:
    """Of one way to recommend, over all shoppers: means, and the middle 95 % of resampled shoppers at k = 10.

    Attributes:
        recall: k -> share of what was wanted among the first k.
        ndcg_10: binary relevance, discount log2(rank + 1).
    """

    name: str
    recall: dict[int, float]
    recall_10_low: float
    recall_10_high: float
    ndcg_10: float


class Shop:
    """Products with classes and popularity.

    Args:
        classes: product id -> class.
    """

    def __init__(self, classes: dict[str, str], seed: int) -> None:
        self.classes = classes
        self._random = np.random.default_rng(seed)
        self.of_class: dict[str, list[str]] = {}
        for product_id, name in classes.items():
            self.of_class.setdefault(name, []).append(product_id)
        for products in self.of_class.values():
            self._random.shuffle(products)  # place 0 is the most popular

    def shoppers(self, count: int) -> list[Shopper]:
        """Those with something wanted; the same for a seed."""
        made: list[Shopper] = []
        while len(made) < count:
            shopper = self._shopper()
            if shopper.wanted:
                made.append(shopper)
        return made

    def _shopper(self) -> Shopper:
        names = sorted(self.of_class)
        liked = self._random.permutation(names)[: self._random.integers(1, 4)].tolist()
        shares = 1 / np.arange(1, len(liked) + 1)
        events: list[Event] = []
        later: set[str] = set()
        cut_s = (DAYS - HELD_OUT_DAYS) * DAY_S
        for at_s in np.sort(self._random.uniform(0, DAYS * DAY_S, self._random.integers(*STEPS))).tolist():
            loyal = self._random.random() < LOYALTY
            chosen = str(self._random.choice(liked, p=shares / shares.sum())) if loyal else None
            product_id = self._pick(self.of_class[chosen] if chosen is not None else list(self.classes))
            if at_s >= cut_s:
                later.add(product_id)
            else:
                events += self._steps(product_id, at_s)
        return Shopper(tuple(liked), tuple(events), frozenset(later - {event.product_id for event in events}))

    def _pick(self, products: Sequence[str]) -> str:
        weights = 1 / (np.arange(len(products)) + 5.0)
        return products[int(self._random.choice(len(products), p=weights / weights.sum()))]

    def _steps(self, product_id: str, at_s: float) -> Iterable[Event]:
        yield Event(product_id, "view", at_s)
        for kind, chance in (("click", CLICKS), ("cart", CARTS), ("purchase", PURCHASES)):
            if self._random.random() >= chance:
                return
            yield Event(product_id, kind, at_s)  # type: ignore[arg-type]  # the literals of `EventKind`


def evaluate(
    target: str, key: str, folder: Path, products: int, shoppers: int, seed: int, console: Console
) -> list[Score]:
    """Fills the server's empty catalogue with `products` photos and asks it for every shopper.

    Raises:
        LoadTestError: too few classes or photos, or the catalogue is not empty.
    """
    photos = Labelled.read(folder)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(photos.files))[:products])
    classes = {str(photos.files[n].relative_to(folder)): str(photos.labels[n]) for n in chosen}
    if len(set(classes.values())) < 4:
        raise LoadTestError(
            f"{folder} has {len(set(classes.values()))} classes; expected 4 or more folders of photos, so that tastes "
            "can differ."
        )
    shop = Shop(classes, seed)
    with Client(target, catalogue_key=key, timeout_s=60) as client:
        if client.catalogue.count().photos:
            raise LoadTestError("The server's catalogue is not empty. Start one with `python -m ops run -- ...`.")
        items = [CatalogueItem(product_id, folder / product_id) for product_id in classes]
        report = client.catalogue.upsert_many(items, progress=console.is_terminal)
        if report.refused:
            raise LoadTestError(f"{len(report.refused)} photos were refused, the first: {report.refused[0]}")
        people = shop.shoppers(shoppers)
        ways = _ways(client, shop, people, seed)
        return [_score(name, people, way, console) for name, way in ways.items()]


def _ways(client: Client, shop: Shop, people: list[Shopper], seed: int) -> dict[str, Callable[[Shopper], list[str]]]:
    """Each gives the first 50 for a shopper, without what they have seen."""
    k = CUTS[-1]
    now = (DAYS - HELD_OUT_DAYS) * DAY_S
    popular = popular_products((event for shopper in people for event in shopper.events), k=len(shop.classes))
    shuffled = np.random.default_rng(seed)

    def by_taste(**options: Any) -> Callable[[Shopper], list[str]]:
        return lambda shopper: [
            each.product_id
            for each in client.recommend(shopper.events, k=k, now=now, popular=popular, **options).products
        ]

    def unseen(products: Iterable[str], shopper: Shopper) -> list[str]:
        seen = {event.product_id for event in shopper.events}
        return [product_id for product_id in products if product_id not in seen][:k]

    def by_class(shopper: Shopper) -> list[str]:
        liked = (product_id for product_id in popular if shop.classes[product_id] in shopper.classes)
        return unseen(liked, shopper)

    return {
        "recommend": by_taste(),
        "recommend, diversity 0": by_taste(diversity=0.0),
        "recommend, one interest": by_taste(interests=1),
        "popular": lambda shopper: unseen(popular, shopper),
        "random": lambda shopper: unseen(shuffled.permutation(list(shop.classes)).tolist(), shopper),
        "popular of the liked classes (knows them)": by_class,
    }


def _score(name: str, people: list[Shopper], way: Callable[[Shopper], list[str]], console: Console) -> Score:
    recalls: dict[int, list[float]] = {cut: [] for cut in CUTS}
    gains = []
    for shopper in track(people, name, console=console, transient=True):
        hits = np.array([product_id in shopper.wanted for product_id in way(shopper)], bool)
        for cut in CUTS:
            recalls[cut].append(float(hits[:cut].sum()) / len(shopper.wanted))
        gains.append(ndcg(hits[:10], len(shopper.wanted)))
    ten = np.array(recalls[10])
    drawn = np.random.default_rng(0).integers(0, len(ten), (RESAMPLES, len(ten)))
    low, high = np.percentile(ten[drawn].mean(axis=1), (2.5, 97.5))
    means = {cut: float(np.mean(values)) for cut, values in recalls.items()}
    return Score(name, means, float(low), float(high), float(np.mean(gains)))


def ndcg(hits: npt.NDArray[np.bool_], wanted: int) -> float:
    """Of one list, binary relevance (Jarvelin and Kekalainen 2002): 1 where all places that can be hits are."""
    discounts: Floats = 1 / np.log2(np.arange(2, len(hits) + 2))
    best = float(discounts[: min(wanted, len(hits))].sum())
    return float(discounts[hits].sum()) / best if best else 0.0


def show(scores: list[Score], console: Console) -> None:
    """The table."""
    table = Table("", *(f"recall@{cut}" for cut in CUTS), "95 % at 10", "NDCG@10", box=None)
    for score in scores:
        recalls = [f"{score.recall[cut]:.3f}" for cut in CUTS]
        table.add_row(
            score.name, *recalls, f"{score.recall_10_low:.3f} to {score.recall_10_high:.3f}", f"{score.ndcg_10:.3f}"
        )
    console.print(table)


def draw(scores: list[Score], file: Path) -> None:
    """Recall over k, a line each."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for score in scores:
        axes.plot(CUTS, list(score.recall.values()), marker="o", label=score.name)
    axes.set(xlabel="k", ylabel="recall@k", xscale="log", ylim=(0, None), title="What shoppers turned to next, found")
    axes.set_xticks(CUTS, [str(cut) for cut in CUTS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def as_report(scores: list[Score]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(score) for score in scores]
