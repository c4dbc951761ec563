"""Visits from an inference pipeline that runs elsewhere: DeepStream's metadata in, the sinks of `sightline people` out."""
