"""Visits from a pipeline that runs elsewhere: DeepStream's metadata in, the sinks of `sightline people` out."""
