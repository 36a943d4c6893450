"""How a decoder's text is looked for. Making one touches no device."""

import dataclasses

from speechlm_jax import limits


@dataclasses.dataclass(frozen=True)
class Search:
    """Which of all texts is told: greedily, drawn, or the best that are found by following several at once.

    The score of a text is the sum of its tokens' log-probabilities over ((5 + tokens) / 6) ** length_penalty
    (arXiv 1609.08144), the end token being one.
    """

    beam: int = 1
    """Hypotheses that are followed at once, `best` at least. The one that greedy search finds is always among them, so
    that what is told never scores less."""
    best: int = 1
    """How many texts are told of each example, the best first."""
    length_penalty: float = 0.0
    """0: the most probable text, which tends to be short; above 0 favours longer ones."""
    ctc: float = 0.0
    """How much the CTC head counts beside the decoder, 0 to 1 (arXiv 1706.02737); of speech that it may align only."""
    language_model: float = 0.0
    """How much a language model counts, added to both (shallow fusion)."""
    temperature: float = 0.0
    """Above 0 each token is drawn from softmax(logits / temperature), and `best` texts are drawn."""
    top_k: int = 0
    """Of only so many most probable tokens; 0: of all."""
    top_p: float = 1.0
    """Of only the most probable tokens whose probabilities sum to this (arXiv 1904.09751)."""
    seed: int = 0
    """Another draws other texts. What is drawn for an example does not depend on those beside it."""

    def __post_init__(self):
        limits.at_least(self, 1, "beam", "best")
        limits.at_least(self, 0, "length_penalty", "ctc", "language_model", "temperature", "top_k")
        limits.at_most(self, 1, "ctc", "top_p")
        if self.top_p <= 0:
            raise ValueError(f"drawing tokens: wanted Search.top_p above 0, found {self.top_p}.")
        if self.draws and (self.beam > 1 or self.ctc or self.language_model):
            raise ValueError(
                "looking for text: one that is drawn (Search.temperature above 0) is followed alone, by the decoder; "
                f"found Search.beam = {self.beam}, .ctc = {self.ctc}, .language_model = {self.language_model}."
            )
        if not self.draws and (self.top_k or self.top_p < 1):
            raise ValueError(
                f"looking for text: Search.top_k = {self.top_k} and .top_p = {self.top_p} say of what is drawn, and "
                "nothing is. Set Search.temperature above 0."
            )

    @property
    def width(self) -> int:
        """Hypotheses that are followed at once."""
        return max(self.beam, self.best)

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn."""
        return self.temperature > 0


GREEDY = Search()
"""What is asked where nothing else is."""
