//! Admit, wait, or refuse: the decision for one request.
