//! Nothing of its own: the tests lie beside, one folder each. `contract` holds the workspace to its rules, `e2e` uses
//! the running service as a caller would, `chaos` kills it, `accuracy` holds it to the reference figures.
