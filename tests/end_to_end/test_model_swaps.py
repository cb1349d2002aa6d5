"""Models are swapped while clients ask two real workers, one call for each swap."""

from model_swaps import swaps


def test_a_swap_drops_no_request():
    """Both versions have answered, and no request has failed."""
    found = swaps(3, workers=2, connections=4)
    assert (found["failures"], found["first_failures"]) == (0, [])
    assert len(found["answers"]) == 2
