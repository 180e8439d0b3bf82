"""Requests to an OpenAI-compatible endpoint over HTTP, singly or in batches; its answers, and its errors in words."""
