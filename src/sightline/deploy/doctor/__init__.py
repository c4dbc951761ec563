"""What is wrong with a deployment, found before anything runs.

`examination.examine_targets` goes over files and folders; a mistake is a `Rule` (`rules.py`), broken somewhere: a
`Finding`. Readers (`key_file`, `yaml_tree`, `nvinfer`, `tracker`, `labels`, `model`, `scripts`, `pipelines`,
`galleries`) turn files into values with lines and never fail on content. `collect` decides which reader a file is for
and puts all into one `Site`, where the parts can be asked about each other. Modules called `…_rules` are the rules,
each with its reason and its repair; `catalogue` has them all.
"""
