"""Linear heads: fitting, predictions, trained folder, probe. Imports no room of `training` but `features`."""
