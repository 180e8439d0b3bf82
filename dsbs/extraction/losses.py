"""What gets lost on the way to a teacher without anybody saying so: prompts that a server cut."""

# English has four or five characters a token, code three; no tokenizer puts so many into one on average.
MOST_CHARACTERS_PER_TOKEN = 8
# Of shorter prompts too little can be told.
FEWEST_CHARACTERS = 2000


class CutPrompts:
    """Compares what was sent with what the server says that it read."""

    def __init__(self) -> None:
        self.count = 0
        self._worst = (0, 0)

    def look(self, characters: int, prompt_tokens: int | None) -> bool:
        """Look at an answer.

        Args:
            characters: length of all that was sent.
            prompt_tokens: what the server says that it read; 0 and None say nothing.

        Returns:
            whether it is the first that was cut.
        """
        if not prompt_tokens or characters < max(FEWEST_CHARACTERS, MOST_CHARACTERS_PER_TOKEN * prompt_tokens):
            return False
        self.count += 1
        self._worst = max(self._worst, (characters, prompt_tokens))
        return self.count == 1

    def tell(self) -> str:
        """Return a sentence about it."""
        characters, tokens = self._worst
        return (
            f"The server reports {tokens:,} prompt tokens for a prompt of {characters:,} characters (in {self.count:,} "
            "answers): it probably truncated the prompt to its context (Ollama does so silently: raise num_ctx), or "
            "does not count cached tokens. Otherwise use fewer prompt.exemplars or shorter inputs."
        )
