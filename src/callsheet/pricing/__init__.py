"""What tokens cost, by the prices of the genai-prices library. An unknown price is said, never counted as free."""
