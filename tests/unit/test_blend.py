"""The weighted sum of the sources, and the weights learned for it."""

import numpy as np

from afterclick.blend import CONTEXTS, SOURCES, Blend, Evidence, blend_scores, contexts_of, default_blend
from afterclick.blend_training import Candidates, learn_blend, propose, quality
from afterclick.sequences import Cells, Sequences

NONE = Cells(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def evidence(**overrides: object) -> Evidence:
    fields = {
        "fold_in": np.zeros((2, 4), np.float32),
        "covisitation": NONE,
        "frequency": NONE,
        "popularity": np.array([1.0, 0.5, 0.0, 0.0]),
        "trend": np.zeros(4),
    }
    return Evidence(**(fields | overrides))  # type: ignore[arg-type]


def test_contexts_of_begin_at_one_two_six_and_sixty_interactions() -> None:
    lengths = np.array([0, 1, 2, 5, 6, 59, 60])
    sequences = Sequences(np.concatenate([[0], np.cumsum(lengths)]), np.zeros(133, np.int64), np.ones(133))

    assert [CONTEXTS[one] for one in contexts_of(sequences)] == [
        "none",
        "one",
        "short",
        "short",
        "regular",
        "regular",
        "long",
    ]


def test_blend_scores_adds_dense_and_sparse_sources_by_each_person_s_weights() -> None:
    cells = Cells(np.array([0, 1]), np.array([3, 3]), np.array([2.0, 2.0]))
    weights = np.array([[0, 1.0, 0, 0.0, 0], [0, 0.0, 0, 4.0, 0]])

    scores = blend_scores(evidence(covisitation=cells), weights)

    np.testing.assert_allclose(scores, [[0, 0, 0, 2], [4, 2, 0, 0]])


def test_a_blend_comes_back_from_its_names() -> None:
    blend = Blend(np.arange(len(CONTEXTS) * len(SOURCES), dtype=float).reshape(len(CONTEXTS), len(SOURCES)))

    np.testing.assert_allclose(Blend.from_dict(blend.to_dict()).weights, blend.weights)


def test_propose_lists_no_excluded_item_and_no_item_twice() -> None:
    relevant = Cells(np.array([0, 1]), np.array([1, 0]), np.ones(2))
    excluded = Cells(np.array([1]), np.array([0]), np.ones(1))

    found = propose(evidence(), excluded, relevant, np.array([0, 0]))

    usable = np.isfinite(found.features).all(axis=2)
    assert usable.sum(axis=1).tolist() == [4, 3]
    assert found.is_relevant.sum(axis=1).tolist() == [1, 0]
    assert found.relevant_count.tolist() == [1, 1]


def planted(count: int = 400) -> Candidates:
    """Cases whose relevant item only co-visitation tells, in every context but the first: there popularity does."""
    draw = np.random.default_rng(3)
    contexts = np.arange(count) % len(CONTEXTS)
    features = draw.random((count, 60, len(SOURCES))).astype(np.float32)
    told_by = np.where(contexts == 0, SOURCES.index("popularity"), SOURCES.index("covisitation"))
    features[np.arange(count), 0, told_by] = 1.2
    is_relevant = np.zeros((count, 60), bool)
    is_relevant[:, 0] = True
    return Candidates(features, is_relevant, np.ones(count, np.int64), contexts)


def test_quality_is_that_of_the_sorted_candidates_with_voids_last_and_several_relevant() -> None:
    draw = np.random.default_rng(7)
    cases = planted(60)
    features, is_relevant = cases.features.copy(), cases.is_relevant | (draw.random((60, 60)) < 0.05)
    features[~is_relevant & (draw.random((60, 60)) < 0.3)] = np.nan
    features[:5, :40] = features[:5, :1]  # equal scores: the earlier candidate first
    count = is_relevant.sum(axis=1) + draw.integers(0, 30, 60)
    mixed = Candidates(features, is_relevant, count, cases.contexts)
    weights = draw.random(len(SOURCES))

    expected = []
    scores = np.nan_to_num((features @ weights.astype(np.float32)[:, None])[..., 0], nan=-np.inf)
    for case in range(60):
        hits = is_relevant[case][np.argsort(-scores[case], kind="stable")[:20]]
        discounts = 1 / np.log2(np.arange(2, 22))
        expected.append(hits.sum() / count[case] + hits @ discounts / discounts[: count[case]].sum())

    np.testing.assert_allclose(quality(mixed, weights), np.mean(expected), rtol=1e-12)


def test_learn_blend_finds_the_source_that_tells_in_each_context() -> None:
    cases = planted()

    blend = learn_blend(cases)

    strongest = [SOURCES[place] for place in blend.weights.argmax(axis=1)]
    assert strongest == ["popularity", *["covisitation"] * 4]
    assert quality(cases, blend.weights[cases.contexts]) > quality(cases, default_blend().weights[cases.contexts])
    np.testing.assert_array_equal(learn_blend(cases).weights, blend.weights)
