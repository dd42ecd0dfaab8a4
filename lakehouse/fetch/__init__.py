"""The live inlet: what to ask the platforms for, within every quota, and what they answered, landed as raw bytes. No Spark."""
