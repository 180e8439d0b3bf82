"""Detection of prompts that a server truncated silently."""

# English has four or five characters a token, code three; no tokenizer puts so many into one on average.
MOST_CHARACTERS_PER_TOKEN = 8
# Shorter prompts are too short to tell.
FEWEST_CHARACTERS = 2000


class CutPrompts:
    """Compares the length of prompts with the prompt tokens that the server reports.

    Attributes:
        count: prompts that seem truncated.
    """

    def __init__(self) -> None:
        self.count = 0
        self._worst = (0, 0)

    def look(self, characters: int, prompt_tokens: int | None) -> bool:
        """Check a completion.

        Args:
            characters: length of its prompt.
            prompt_tokens: as the server reports them; 0 and None: unknown.

        Returns:
            whether it is the first that seems truncated.
        """
        if not prompt_tokens or characters < max(FEWEST_CHARACTERS, MOST_CHARACTERS_PER_TOKEN * prompt_tokens):
            return False
        self.count += 1
        self._worst = max(self._worst, (characters, prompt_tokens))
        return self.count == 1

    def tell(self) -> str:
        """Return a sentence about the truncated prompts, with the worst one."""
        characters, tokens = self._worst
        return (
            f"The server reports {tokens:,} prompt tokens for a prompt of {characters:,} characters (in {self.count:,} "
            "answers): it probably truncated the prompt to its context (Ollama does so silently: raise num_ctx), or "
            "does not count cached tokens. Otherwise use fewer prompt.exemplars or shorter inputs."
        )
