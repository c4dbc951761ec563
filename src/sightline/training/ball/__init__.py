"""Learning where the ball is: TrackNet from labelled clips, InpaintNet from trajectories."""
