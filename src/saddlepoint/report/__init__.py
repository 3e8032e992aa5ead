"""What people read of a run: a page (``html``), terminal tables (``tables``), sentences to cite (``citation``)."""
