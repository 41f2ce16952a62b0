import math

from olhar.train.sentinels import Sentinels, not_finite


def listen(chance: float | None = math.log(10)) -> tuple[Sentinels, list[str]]:
    spoken: list[str] = []
    return Sentinels(chance, lambda name, sentence: spoken.append(name)), spoken


def test_stuck_at_chance_speaks_once_and_only_late():
    sentinels, spoken = listen()
    for i in range(20):
        sentinels.train(0.01 * i, 20 * i, 2.30, 0.0)
    assert spoken == []  # warming up
    for _ in range(20):
        sentinels.train(0.5, 900, 2.30, 0.0)
    assert spoken == ["stuck"]


def test_a_short_run_is_given_its_time_and_then_told_that_it_was_short():
    said: list[str] = []
    sentinels = Sentinels(math.log(128), lambda name, sentence: said.append(sentence))
    for i in range(30):
        sentinels.train(i / 40, 2 * i, 4.85, 0.0)
    assert said == []
    sentinels.train(0.9, 72, 4.85, 0.0)
    assert "72 steps: give more --epochs" in said[0]


def test_a_model_that_learns_is_left_alone():
    sentinels, spoken = listen()
    for i in range(40):
        sentinels.train(i / 40, 50 * i, 2.3 * 0.95**i, 0.05)
    for i in range(10):
        sentinels.evaluated(2.3 * 0.7**i, 2.3 * 0.75**i)
    assert spoken == []


def test_starving_loader():
    sentinels, spoken = listen()
    for _ in range(8):
        sentinels.train(0.1, 90, 1.0, 0.6)
    assert spoken == ["starving"]


def test_training_far_ahead_of_validation():
    sentinels, spoken = listen()
    for train, validation in ((1.0, 1.0), (0.6, 0.8), (0.4, 0.85), (0.2, 0.95), (0.1, 1.1)):
        sentinels.evaluated(train, validation)
    assert spoken == ["overfitting"]


def test_not_finite_names_the_files():
    sentence = not_finite(7, [f"cat/{i}.jpg" for i in range(6)])
    assert "step 7" in sentence
    assert "cat/0.jpg" in sentence
    assert "and 2 more" in sentence
    assert "--optim.lr" in sentence
