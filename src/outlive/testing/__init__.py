"""For tests of workflows, of stores and of Outlive itself."""
