"""The list for people we know nothing about. No Spark, no Arrow: the API makes it too when Redis is away."""

from afterclick.connectors.redis_store import ListedItem, TopList
from afterclick.models import Model
from afterclick.ranking import popular_top_n


def popular_list(model: Model, size: int, *, now_ms: int) -> TopList:
    """Return a model's `size` most popular items."""
    ranked = popular_top_n(model.popularity, size)
    pairs = zip(ranked.items[0].tolist(), ranked.scores[0].tolist(), strict=True)
    items = [ListedItem(str(model.item_ids[item]), round(score, 6), "popular") for item, score in pairs]
    return TopList(model.version, "popular", 0, now_ms, items)
