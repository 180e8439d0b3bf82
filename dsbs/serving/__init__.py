"""A student behind HTTP: requests in batches, OpenAI's chat endpoint, deferral to the teacher, recording of traffic."""
