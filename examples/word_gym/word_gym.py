"""A gym in 25 lines: answer with a word that starts with one letter and has a given number of letters."""

from gyms.api import Gym, GymSettings, Score, Status, Task, message

WORDS = ["apple", "bear", "cloud", "dance", "eagle", "flower", "garden", "house", "island", "kettle", "mountain"]


class Settings(GymSettings):
    num_heldout: int = 4
    """Words that are only asked in evaluation."""


class WordGym(Gym):
    """Asks for a word with a given first letter and length; any word of the list that fits is right."""

    Settings = Settings

    def tasks(self, split):
        num = self.settings.num_heldout
        return [self._task(word) for word in (WORDS[num:] if split == "train" else WORDS[:num])]

    def _task(self, word):
        prompt = f"Answer with one English word of {len(word)} letters that starts with {word[0].upper()}."
        return Task(id=word, prompt=(message("user", prompt),), data={"word": word})

    def score(self, task, response):
        word, gold = response.strip(" .\n").lower(), task.data["word"]
        fits = word in WORDS and word[0] == gold[0] and len(word) == len(gold)
        return Score(status=Status.OK, value=float(fits), answer=word[:40])

    def gold(self, task):
        return task.data["word"]
