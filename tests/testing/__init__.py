"""The test client, in each of the ways that tests are run."""
