"""Things that never were: procedural people and faces, with the truth about who is who. All drawn, nothing recorded."""
