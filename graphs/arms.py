"""Clusters of candidates as arms of a bandit, and what their ratings say about their next picture.

GenPilot clusters anew each round and carries its posterior over by label number, which mixes unrelated
clusters (its defect A.6.8). Here an arm has a centroid and members that live across rounds.
`cluster_official` and `posterior_official` are the paper's own functions, kept for comparison. Knows no
graph, no picture, no mind.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from sklearn.feature_extraction.text import (  # pyright: ignore[reportMissingTypeStubs]
    TfidfVectorizer,  # pyright: ignore[reportUnknownVariableType]
)

from graphs.state import ORIGINAL, Arm, Candidate

Floats = NDArray[np.float64]

MAX_ARMS = 5
"""GenPilot's number of clusters; the original prompt's own arm is not counted."""
SIMILAR = 0.35
"""A candidate at least this close (cosine) to an arm's centroid joins it."""
PRIOR_KAPPA, PRIOR_ALPHA, PRIOR_BETA = 1.0, 1.5, 0.75
"""The normal-gamma prior: one imaginary rating at the run's mean, with a spread of about one rating point."""
_DRAWS = 2000
_TOKENS = r"(?u)\b\w+\b"


# --- the paper's own functions ----------------------------------------------------------------------


def cluster_official(prompts: Sequence[str], n_clusters: int) -> list[int]:
    """GenPilot's clustering (A.3 step 6): TF-IDF of whole prompts, K-Means with random state 42.

    With fewer prompts than clusters every label is 0.
    """
    if len(prompts) < n_clusters:
        return [0] * len(prompts)
    return _kmeans(_vectorise(prompts, token_pattern=r"(?u)\b\w\w+\b")[0], n_clusters)


def posterior_official(
    prior: Sequence[float], scores: Sequence[float], labels: Sequence[int], n_clusters: int
) -> list[float]:
    """GenPilot's posterior (A.3 step 7): prior times the cluster's mean score, normalised; uniform if all
    are zero.
    """
    weights = [
        probability * (float(np.mean(own)) if own else 0.0)
        for index, probability in enumerate(prior)
        for own in [[score for score, label in zip(scores, labels, strict=True) if label == index]]
    ]
    total = sum(weights)
    return [weight / total for weight in weights] if total else [1 / n_clusters] * n_clusters


# --- arms that live across rounds -------------------------------------------------------------------


def update_arms(
    arms: Sequence[Arm], candidates: Mapping[str, Candidate], *, seed: int, clustering: bool = True
) -> tuple[Arm, ...]:
    """Sort candidates without an arm into arms, and recompute every arm's centroid, posterior and chance.

    A new candidate joins the nearest arm at a cosine of at least SIMILAR; the others found new arms by
    K-Means, up to MAX_ARMS, and beyond that join the nearest. The original prompt is always alone in arm
    0. Without `clustering` every candidate is an arm of its own and all chances are equal.
    """
    if not clustering:
        members = {index: [key] for index, key in enumerate(candidates)}
        vectors: dict[str, Floats] = {}
        terms: list[str] = []
    else:
        members, vectors, terms = _sort_into_arms(arms, candidates)
    ratings = {key: _ratings(candidate) for key, candidate in candidates.items()}
    everything = [rating for own in ratings.values() for rating in own]
    centre = float(np.mean(everything)) if everything else 3.0
    fresh = [
        _describe_arm(number, own, [rating for key in own for rating in ratings[key]], centre, vectors, terms)
        for number, own in sorted(members.items())
    ]
    chances = draw_chances(fresh, seed) if clustering else [1 / len(fresh)] * len(fresh)
    return tuple(
        arm.model_copy(update={"chance": chance}) for arm, chance in zip(fresh, chances, strict=True)
    )


def draw_chances(arms: Sequence[Arm], seed: int) -> list[float]:
    """For each arm the probability that its next picture is rated best, by Monte Carlo over the
    predictive posterior.

    It is the next picture that counts, not the arm's mean, because the best picture of a run is what is
    returned: an uncertain arm deserves a try. Drawing an arm by these chances is Thompson sampling.
    """
    draws = sample_ratings(arms, seed, _DRAWS)
    wins = np.bincount(draws.argmax(axis=1), minlength=len(arms))
    return [float(win) / _DRAWS for win in wins]


def sample_ratings(arms: Sequence[Arm], seed: int, count: int) -> Floats:
    """(count, arms): predicted ratings of each arm's next picture, within 1 to 5 up to a tie-breaking
    whisper.
    """
    rng = np.random.default_rng(seed)
    columns: list[Floats] = []
    for arm in arms:
        scale = np.sqrt(arm.beta * (arm.kappa + 1) / (arm.alpha * arm.kappa))
        drawn = arm.mean + scale * rng.standard_t(2 * arm.alpha, count)
        columns.append(np.clip(drawn, 1.0, 5.0) + 1e-6 * drawn)
    return np.stack(columns, axis=1)


def best_member(arm: Arm, candidates: Mapping[str, Candidate]) -> Candidate:
    """The member with the best mean rating, drawn towards the arm's mean as far as it has few pictures."""

    def shrunk(key: str) -> float:
        own = _ratings(candidates[key])
        return (sum(own) + arm.mean) / (len(own) + 1)

    return candidates[max(arm.members, key=shrunk)]


def _ratings(candidate: Candidate) -> list[float]:
    return [view.rating.mean for view in candidate.views if view.rating]


def _describe_arm(
    number: int,
    members: Sequence[str],
    ratings: Sequence[float],
    centre: float,
    vectors: Mapping[str, Floats],
    terms: Sequence[str],
) -> Arm:
    """The arm with its normal-gamma posterior after `ratings` (Murphy 2007, section 3.4)."""
    count = len(ratings)
    mean = float(np.mean(ratings)) if count else centre
    spread = float(np.sum((np.asarray(ratings) - mean) ** 2)) if count else 0.0
    kappa = PRIOR_KAPPA + count
    return Arm(
        id=number,
        centroid=_sparse(_direction([vectors[key] for key in members]), terms) if vectors else (),
        members=tuple(members),
        mean=(PRIOR_KAPPA * centre + count * mean) / kappa,
        kappa=kappa,
        alpha=PRIOR_ALPHA + count / 2,
        beta=PRIOR_BETA + spread / 2 + PRIOR_KAPPA * count * (mean - centre) ** 2 / (2 * kappa),
    )


def _sort_into_arms(
    arms: Sequence[Arm], candidates: Mapping[str, Candidate]
) -> tuple[dict[int, list[str]], dict[str, Floats], list[str]]:
    keys = list(candidates)
    rows, terms = _vectorise(
        [describe_edits(candidates[key], candidates) for key in keys], token_pattern=_TOKENS
    )
    vectors = dict(zip(keys, rows, strict=True))
    members = {arm.id: list(arm.members) for arm in arms} or {0: [ORIGINAL]}
    settled = {key for own in members.values() for key in own}
    homeless: list[str] = []
    for key in (key for key in keys if key not in settled):
        nearest, similarity = _nearest(vectors[key], members, vectors)
        if nearest is not None and similarity >= SIMILAR:
            members[nearest].append(key)
        else:
            homeless.append(key)
    free = MAX_ARMS - (len(members) - 1)
    if homeless and free > 0:
        founders = np.stack([vectors[key] for key in homeless])
        groups = min(free, len(np.unique(founders.round(9), axis=0)))
        labels = _kmeans(founders, groups)
        following = max(members) + 1
        # Label numbers mean nothing: an arm is numbered by its first member.
        order = {label: number for number, label in enumerate(dict.fromkeys(labels))}
        for key, label in zip(homeless, labels, strict=True):
            members.setdefault(following + order[label], []).append(key)
    else:
        for key in homeless:
            nearest, _ = _nearest(vectors[key], members, vectors)
            members[1 if nearest is None else nearest].append(key)
    return members, vectors, terms


def describe_edits(candidate: Candidate, candidates: Mapping[str, Candidate]) -> str:
    """The words that a candidate's whole chain of edits brought in, and the patterns that brought them."""
    words: list[str] = []
    at: Candidate | None = candidate
    while at is not None:
        words += [f"{edit.after} pattern_{edit.pattern.replace(' ', '_')}" for edit in at.edits]
        at = candidates[at.base] if at.base is not None else None
    return " ".join(words)


def _nearest(
    vector: Floats, members: Mapping[int, Sequence[str]], vectors: Mapping[str, Floats]
) -> tuple[int | None, float]:
    """The arm (other than the original's) whose centroid is closest to `vector`, and the cosine."""
    cosines = {
        number: float(vector @ _direction([vectors[key] for key in own]))
        for number, own in members.items()
        if number
    }
    if not cosines:
        return None, 0.0
    best = max(cosines, key=lambda number: cosines[number])
    return best, cosines[best]


def _direction(vectors: Sequence[Floats]) -> Floats:
    mean = np.mean(np.stack(vectors), axis=0)
    length = float(np.linalg.norm(mean))
    return mean / length if length else mean


def _sparse(vector: Floats, terms: Sequence[str]) -> tuple[tuple[str, float], ...]:
    return tuple((term, float(weight)) for term, weight in zip(terms, vector, strict=True) if weight)


def _vectorise(texts: Sequence[str], token_pattern: str) -> tuple[Floats, list[str]]:
    """(texts, terms): unit TF-IDF rows, and the terms. Texts without any word give zero rows."""
    vectoriser: Any = TfidfVectorizer(token_pattern=token_pattern)
    if not any(text.strip() for text in texts):
        return np.zeros((len(texts), 1)), ["nothing"]
    rows = cast(Floats, vectoriser.fit_transform(texts).toarray())
    return rows, cast(list[str], vectoriser.get_feature_names_out().tolist())


def _kmeans(rows: Floats, n_clusters: int) -> list[int]:
    model: Any = KMeans(n_clusters=n_clusters, random_state=42)
    return cast(list[int], model.fit_predict(rows).tolist())
