"""The worklist: Unified Procedure Steps (PS3.4 Annex CC, PS3.18 §11), also the queue of the AI engine."""
