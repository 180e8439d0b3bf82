"""Serve a student over HTTP: batching, OpenAI's chat endpoint, deferral to the teacher, recording of traffic."""
