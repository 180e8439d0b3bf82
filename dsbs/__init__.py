"""dsbs distils a large language model step by step (Hsieh et al. 2023, arXiv 2305.02301)."""

__version__ = "0.1.0"
