"""A one-layer transformer that writes strings backwards, taken apart on every input it can have."""

import warnings

# Imported without ipywidgets, tqdm warns with a path of the machine in the message;
# shown in a notebook, that line would differ from one machine to the next.
warnings.filterwarnings("ignore", message="IProgress not found")
