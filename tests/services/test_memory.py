import numpy as np

from services.memory import give_back, resident_mb


def test_resident_memory_sees_what_is_held_and_what_is_given_back():
    before = resident_mb()
    held = np.ones(8_000_000)  # 64 MB
    assert resident_mb() > before + 50
    del held
    give_back()
    assert resident_mb() < before + 20
