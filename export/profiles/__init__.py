"""Hardware profiles: `configs/<profile>.pbtxt` for each model. Must import no room but `repository`."""
