"""The rules of the subject: pure, no I/O, no clock, no Azure SDK. Times come in as arguments."""
