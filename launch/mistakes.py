"""What is wrong with what was asked for."""


class Mistake(ValueError):
    """Told in one line, without a stack."""
