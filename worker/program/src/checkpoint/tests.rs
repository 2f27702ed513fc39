//! A folder that was kept is found again as it was, and no other bytes are believed.
