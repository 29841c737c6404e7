//! Delta ADS: streams, make-before-break phases, ACK and NACK, quarantine.
