"""Sentences that a reader tries first. They stand in the split `test_voices` alone: no training has them."""

from tasks.embedded_corpus import words

SENTENCES = (
    words.Meaning(words.Words("Hello.", "Hallo.", "Salut.", "Hola.", "你好。")),
    words.Meaning(
        words.Words(
            "I like to eat apples.",
            "Ich esse gern Äpfel.",
            "J'aime manger des pommes.",
            "Me gusta comer manzanas.",
            "我喜欢吃苹果。",
        ),
        sentiment="positive",
    ),
    words.Meaning(
        words.Words(
            "I do not like to eat apples.",
            "Ich esse nicht gern Äpfel.",
            "Je n'aime pas manger des pommes.",
            "No me gusta comer manzanas.",
            "我不喜欢吃苹果。",
        ),
        sentiment="negative",
    ),
)
