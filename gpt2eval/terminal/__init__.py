"""What a person sees in a terminal: progress, tables, explanations. rich does the drawing."""
